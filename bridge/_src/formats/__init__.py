"""Reading and writing of every form in which a Keras model comes: live, ``.keras``, HDF5,
bundle.
"""
