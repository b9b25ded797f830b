"""A reader of HDF5 files from strangers, in Python.

The HDF5 library trusts what it reads: a damaged file may crash it, or hold it in an endless loop
that Ctrl-C does not reach. Here every place is checked against the size of the file, whatever leads
back to itself is noticed, and what is read is counted. It reads what Keras and h5py write: groups
and attributes of every form, numbers and text, values in one piece or in chunks behind gzip,
shuffle and Fletcher32. Links to other files, and values in them, are never followed.

After "HDF5 File Format Specification Version 3.0" (The HDF Group).
"""
