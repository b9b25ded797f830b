"""J Jᵀ and JᵀJ of a model from the structure that its jaxpr shows, without forming J."""
