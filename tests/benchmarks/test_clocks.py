"""What is compiled on a clock is noticed, and peers are warm before it starts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.compilations import CompiledOnTheClockError, counted, none_compiled
from benchmarks.worker import COMPILATION, Quantity, Runner, warmed


def _program():
    """A function that JAX has not compiled yet."""
    return jax.jit(lambda x: 3 * x + 1)


def _runner(function, **options):
    return Runner(lambda: {"value": float(function())}, {"value": Quantity("", "info")}, **options)


def test_a_program_is_counted_when_it_is_compiled_and_only_then():
    x, program = jnp.arange(5.0), _program()
    jax.block_until_ready(x)
    with counted() as first:
        jax.block_until_ready(program(x))
    with counted() as second:
        jax.block_until_ready(program(x))
    assert len(first) == 1
    assert second == []


_CACHED = """
import jax, numpy as np
from benchmarks.compilations import counted
for _ in range(2):
    with counted() as names:
        jax.jit(lambda x: 3 * x + 1)(np.float32(1))
    print(len(names))
"""


def test_a_program_that_is_read_from_a_cache_on_disk_is_counted(tmp_path):
    """Reading takes milliseconds on the clock, too."""
    keep_all = {
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path)} | keep_all
    done = subprocess.run(
        [sys.executable, "-c", _CACHED],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1", "1"]
    assert len(list(tmp_path.glob("*-cache"))) == 1


@pytest.mark.parametrize(
    ("module", "attribute", "first", "then"),
    [("tensorflow", "_tensorflow", 5, 9), ("torch", "_torch", 0, 1)],
)
def test_what_other_frameworks_compiled_is_counted(module, attribute, first, then, monkeypatch):
    """By their own counters, of which stand-ins are enough here."""
    cell = types.SimpleNamespace(value=lambda: now)
    tracing = types.SimpleNamespace(
        _graph_building_time_counter=types.SimpleNamespace(get_cell=lambda: cell)
    )
    frames = {"total": first}
    utils = types.SimpleNamespace(counters={"frames": frames})
    monkeypatch.setitem(
        sys.modules, "tensorflow.python.eager.polymorphic_function.tracing_compilation", tracing
    )
    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", utils)
    now = first
    with counted() as names:
        pass
    assert names == []
    with counted() as names:
        if module == "torch":
            frames["total"] = then
        else:
            now = then
    assert len(names) == 1


def test_a_measurement_that_compiles_is_none():
    """A peer that makes its program anew in every round, as ``compile`` of a Keras model does."""
    runner = warmed(_runner(lambda: _program()(np.float32(1))))
    with pytest.raises(CompiledOnTheClockError, match=r"1 compiled on the clock: .*lambda"):
        runner.measure()


def test_a_state_of_another_kind_after_the_first_step_is_compiled_before_the_clock_starts():
    """As Optax' L-BFGS: the second step has a program of its own."""
    step = jax.jit(lambda state: state + np.float32(1))

    def two_steps():
        return step(step(1.0))  # the first state's type is weak

    with counted() as names:
        two_steps()
    assert len(names) == 2
    runner = warmed(_runner(two_steps))
    assert runner.measure() == {"value": 3.0}


def test_warm_up_rounds_go_through_what_is_timed():
    calls = []
    runner = warmed(_runner(lambda: 2.0, warm_up=lambda: calls.append(1)))
    assert len(calls) == 2
    assert runner.fixed[COMPILATION] == 0  # of what compiles nothing, however long the rounds took
    assert runner.quantities[COMPILATION] == Quantity("s", "lower")
    assert runner.measure() == {"value": 2.0}
    assert len(calls) == 2


def test_the_time_of_compilation_is_what_the_first_round_took_longer():
    program, waits = _program(), [0.2, 0.0]

    def round_of() -> None:
        time.sleep(waits.pop(0) + 0 * float(program(np.float32(1))))

    assert warmed(_runner(lambda: 2.0, warm_up=round_of)).fixed[COMPILATION] > 0


def test_where_compiling_is_what_is_measured_nothing_goes_before():
    runner = _runner(lambda: _program()(np.float32(1)), compiles=True)
    assert warmed(runner) is runner
    assert runner.measure() == {"value": 4.0}


def test_none_compiled_lets_other_errors_through():
    with pytest.raises(ZeroDivisionError), none_compiled():
        raise ZeroDivisionError
