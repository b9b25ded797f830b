"""How JAX is driven: compiled programs, loops, precision, signals, warnings."""
