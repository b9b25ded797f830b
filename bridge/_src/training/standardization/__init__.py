"""A fit on standardised numbers of a model that takes and gives raw ones."""
