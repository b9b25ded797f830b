"""All peers of a workload, measured in turn: round after round, so that a slow moment of the
machine hits all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from benchmarks.metrics import Metric, Missing
from benchmarks.worker import COMPILATION, Mode, Peer, PeerError, Quantity, Worker


@dataclasses.dataclass(frozen=True)
class Session:
    """A workload with the peers that solve it; ``baseline`` is the peer that the others are
    compared with.
    """

    name: str
    description: str
    workload: Callable[[], Any]
    peers: tuple[Peer, ...]
    baseline: str
    compared: str  #: the quantity whose ratio to the baseline is reported
    columns: tuple[str, ...] = (COMPILATION,)  #: quantities that stand beside it in README.md
    most_rounds: int | None = None  #: where a round takes long


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run of a session gave."""

    metrics: list[Metric]
    missing: list[Missing]
    curves: dict[str, list[tuple[float, float]]]  #: (seconds, loss) by peer


def run(session: Session, mode: Mode, rounds: int, say: Callable[[str], None]) -> Outcome:
    """Starts every peer, measures each once a round, and returns the numbers and the peers that
    could not take part.
    """
    workers: dict[str, Worker] = {}
    missing: list[Missing] = []
    samples: dict[tuple[str, str], list[float]] = {}
    curves: dict[str, list[tuple[float, float]]] = {}
    rounds = min(rounds, session.most_rounds or rounds)
    try:
        left_out = {peer.name for peer in session.peers if peer.slow and mode == "quick"}
        missing += [
            Missing(session.name, name, "takes long: full runs only") for name in sorted(left_out)
        ]
        for peer in (peer for peer in session.peers if peer.name not in left_out):
            say(f"starting {peer.name}")
            _guard(
                session.name,
                peer.name,
                missing,
                lambda peer=peer: workers.update({peer.name: Worker(peer, session.workload, mode)}),
            )
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for name in [name for name in workers if name not in {entry.peer for entry in missing}]:
                _guard(
                    session.name,
                    name,
                    missing,
                    lambda name=name: _collect(samples, name, workers[name].measure()),
                )
        for name in [name for name in workers if name not in {entry.peer for entry in missing}]:
            _guard(
                session.name,
                name,
                missing,
                lambda name=name: curves.update({name: workers[name].curve()}),
            )
    finally:
        for worker in workers.values():
            worker.close()
    failed = {entry.peer for entry in missing}
    for name, worker in workers.items():
        _collect(samples, name, worker.fixed)
    metrics = [
        _metric(session.name, key, values, workers[key[0]].quantities)
        for key, values in samples.items()
        if key[0] not in failed
    ]
    return Outcome(metrics, missing, {name: curve for name, curve in curves.items() if curve})


def _guard(workload: str, peer: str, missing: list[Missing], action: Callable[[], None]) -> None:
    try:
        action()
    except PeerError as error:
        missing.append(Missing(workload, peer, str(error)))


def _collect(
    samples: dict[tuple[str, str], list[float]], peer: str, numbers: dict[str, float]
) -> None:
    for name, value in numbers.items():
        samples.setdefault((peer, name), []).append(value)


def _metric(
    workload: str, key: tuple[str, str], values: list[float], quantities: dict[str, Quantity]
) -> Metric:
    peer, name = key
    return Metric(
        workload, peer, name, quantities[name].unit, quantities[name].direction, tuple(values)
    )
