"""Fits to data that is not in memory: read in pieces, summed over chunks."""
