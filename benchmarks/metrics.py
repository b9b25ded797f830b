"""A measured number, and what is needed to read it."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Literal

Direction = Literal["lower", "higher", "info"]


@dataclasses.dataclass(frozen=True)
class Metric:
    """One quantity of one peer on one workload: the median of ``samples``, in ``unit``."""

    workload: str
    peer: str
    name: str
    unit: str
    direction: Direction  #: whether lower or higher is better, or neither
    samples: tuple[float, ...]

    @property
    def value(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def best(self) -> float:
        """The sample least disturbed by the machine: the lowest, or the highest where higher is
        better.
        """
        return max(self.samples) if self.direction == "higher" else min(self.samples)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {**dataclasses.asdict(self), "value": self.value, "best": self.best}


@dataclasses.dataclass(frozen=True)
class Missing:
    """A peer that could not take part, and why."""

    workload: str
    peer: str
    reason: str

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return dataclasses.asdict(self)


def ratio(metrics: Sequence[Metric], peer: str, baseline: str, name: str) -> float | None:
    """Median of ``peer`` over median of ``baseline``; None if either is missing."""
    values = {metric.peer: metric.value for metric in metrics if metric.name == name}
    if peer not in values or baseline not in values:
        return None
    return values[peer] / values[baseline]
