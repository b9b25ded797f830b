"""The method: damping, scaling, trial steps, and when a run stops."""
