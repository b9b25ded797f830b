"""One peer in a process of its own, so that thread pools, precision switches and memory of one
never touch another.
"""

from __future__ import annotations

import dataclasses
import importlib
import multiprocessing
import re
import resource
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Literal, TypeVar

from benchmarks import compilations
from benchmarks.metrics import Direction

Mode = Literal["quick", "full"]

Sample = TypeVar("Sample")

#: The name of the quantity that every peer has: the memory that it took beyond its imports and the
#: data.
MEMORY = "memory over imports and data"

#: The name of the quantity that every peer has whose clock compiles nothing: what its first round
#: took longer than its second.
COMPILATION = "compilation, once"

#: The name of a quantity of fits by lmjax: of how many of the steps JᵀJ came from a sample of the
#: rows.
SAMPLED = "share of steps with JᵀJ of a sample"

#: Rounds before the first that counts, through the very objects and functions that are timed: in
#: the first, states come from where they are made, in the second from a step, of which JAX may
#: compile a program for each.
_WARM_UPS = 2


@dataclasses.dataclass(frozen=True)
class Quantity:
    """What one of a runner's numbers means."""

    unit: str
    direction: Direction


@dataclasses.dataclass(frozen=True)
class Runner:
    """A peer that has compiled nothing so far: ``measure`` returns numbers whose meaning
    ``quantities`` gives.

    The frame warms it up, and takes no measurement during which anything was compiled.
    """

    measure: Callable[[], dict[str, float]]
    quantities: dict[str, Quantity]
    #: Numbers that were measured once
    fixed: dict[str, float] = dataclasses.field(default_factory=dict)
    #: a short round through what ``measure`` uses; ``measure`` itself where there is none
    warm_up: Callable[[], object] | None = None
    compiles: bool = (
        False  #: whether compiling belongs to what is measured; no round goes first then
    )
    #: (seconds, loss) after each epoch of the last measurement, for peers that are compared by
    #: their way to a loss
    curve: Callable[[], list[tuple[float, float]]] = list


@dataclasses.dataclass(frozen=True)
class Peer:
    """A name for the report, the module that prepares the peer, and the options it gets."""

    name: str
    module: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    slow: bool = False  #: takes part in full runs only


class PeerError(RuntimeError):
    """A peer failed; the message is the reason for the report."""


#: The folders of an absolute path, which say nothing to who reads the results elsewhere.
_FOLDERS = re.compile(r"(?<![\w.])/(?:[\w.+-]+/)+")


def one_line(message: str) -> str:
    """A message for the report: without line breaks, and with files named without the folders of
    this machine.
    """
    return _FOLDERS.sub("", " ".join(message.split()))


def repeated(sample: Callable[[], Sample], seconds: float) -> list[Sample]:
    """What ``sample`` returns, called again and again for so many seconds: a pause of the machine
    is as long as a short run.
    """
    samples, begin = list[Sample](), time.perf_counter()
    while not samples or time.perf_counter() - begin < seconds:
        samples.append(sample())
    return samples


class Worker:
    """The parent's handle on a peer's process; a context manager that ends the process."""

    def __init__(self, peer: Peer, workload: Callable[[], Any], mode: Mode) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, peer, workload, mode), daemon=True
        )
        self._process.start()
        theirs.close()
        self.quantities, self.fixed = self._receive()

    def measure(self) -> dict[str, float]:
        """One measurement, made now in the peer's process while all others wait."""
        self._connection.send("measure")
        return self._receive()

    def curve(self) -> list[tuple[float, float]]:
        """The (seconds, loss) of the last measurement; empty for most peers."""
        self._connection.send("curve")
        return self._receive()

    def _receive(self) -> Any:
        try:
            kind, content = self._connection.recv()
        except EOFError:
            self._process.join()
            raise PeerError(f"its process ended with exit code {self._process.exitcode}") from None
        if kind == "error":
            raise PeerError(content)
        return content

    def close(self) -> None:
        """Ends the peer's process."""
        self._connection.close()
        self._process.terminate()
        self._process.join()


def _peak_memory() -> float:
    """The most memory that this process has had so far, in GB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def warmed(runner: Runner) -> Runner:
    """The runner after its warm-up rounds, with :data:`COMPILATION` among its numbers; its
    measurements raise if they compile.
    """
    if runner.compiles:
        return runner
    with compilations.counted() as names:
        first, *_, last = [_seconds(runner.warm_up or runner.measure) for _ in range(_WARM_UPS)]
    # A first round is slow for other reasons, too.
    compilation = max(first - last, 0.0) if names else 0.0

    def measure() -> dict[str, float]:
        with compilations.none_compiled():
            return runner.measure()

    quantities = runner.quantities | {COMPILATION: Quantity("s", "lower")}
    return dataclasses.replace(
        runner,
        measure=measure,
        quantities=quantities,
        fixed=runner.fixed | {COMPILATION: compilation},
    )


def _seconds(function: Callable[[], object]) -> float:
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def _serve(connection: Connection, peer: Peer, workload: Callable[[], Any], mode: Mode) -> None:
    try:
        module, data = importlib.import_module(f"benchmarks.peers.{peer.module}"), workload()
        before = _peak_memory()
        runner = warmed(module.prepare(data, mode, **peer.options))
        connection.send(
            ("ready", (runner.quantities | {MEMORY: Quantity("GB", "lower")}, runner.fixed))
        )
        while True:
            if connection.recv() == "curve":
                connection.send(("curve", runner.curve()))
            else:
                numbers = runner.measure()
                connection.send(("measured", {MEMORY: _peak_memory() - before} | numbers))
    except EOFError:
        return
    except ModuleNotFoundError as error:
        connection.send(("error", f"not installed: {error.name}"))
    except Exception as error:  # noqa: BLE001 - whatever stops a peer is reported as its row
        connection.send(("error", f"{type(error).__name__}: {one_line(str(error))[:200]}"))
