"""Epochs of Levenberg-Marquardt with rounds of Adam between them."""

from __future__ import annotations

from collections.abc import Iterator

import jax.numpy as jnp

from lmjax._src.arrays.vectors import Vector
from lmjax._src.training.epochs.course import Course
from lmjax._src.training.epochs.epochs import reports_of
from lmjax._src.training.epochs.warm_up import warmed_up
from lmjax._src.training.following.continuation import Place
from lmjax._src.training.following.recording import Report
from lmjax._src.training.following.selection import Kept


def alternating_reports_of(
    course: Course, params: Vector, done: int, kept: Kept | None, place: Place | None = None
) -> Iterator[Report]:
    """As :func:`~lmjax._src.training.epochs.epochs.reports_of`; where ``course.adam`` asks for it,
    with a round of Adam after every so many epochs, those of earlier fits counted, too.

    Each round begins where the epochs have come to, and they go on from its least loss with a new
    λ. A fit that has ended has no more rounds.
    """
    if course.adam is None:
        yield from reports_of(course, params, done, kept, place)
        return
    before, (steps, every) = course.rules.skipped, course.adam
    while True:
        count = before + done
        if count and count % every == 0:
            structure = course.objective.structure
            flat = structure.flatten(params) if isinstance(params, list) else jnp.asarray(params)
            params = warmed_up(course.objective, flat, steps, course.bounds).params
            place = None
        until = done + every - count % every
        part = course._replace(epochs=min(until, course.epochs))
        for report in reports_of(part, params, done, kept, place):
            done += len(report.numbers["loss"])
            params, kept, place = report.params, report.kept or kept, report.place
            yield report
            if done >= until:
                break
