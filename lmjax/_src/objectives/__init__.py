"""The costs that LM lowers, and how they are linearized."""
