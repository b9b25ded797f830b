"""Names of the lists in a history that are neither losses nor metrics."""

from __future__ import annotations

#: What restrains a step: λ, or the radius of a trust region, whichever the damping rule has.
RESTRAINTS = ("damping", "trust_region_radius")
GRADIENT_NORM = "gradient_norm"

#: What is told of the step of every epoch.
OF_STEPS = (*RESTRAINTS, GRADIENT_NORM, "gain_ratio", "attempts", "step_norm")

#: What is neither a loss nor a metric.
NOT_METRICS = frozenset({*OF_STEPS, "seconds"})
