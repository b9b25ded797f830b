"""``lmjax check``: whether JAX computes rightly, on this machine, what fits rest on."""

from __future__ import annotations

import argparse
import time

import jax

from bridge._src.command.output import check_said, say
from lmjax._src.runtime import faults
from lmjax._src.self_check.outcomes import outcomes


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser(
        "check",
        help="try whether JAX computes rightly on this machine what fits rest on",
        description=(
            "Compares functions, sums, products, scans, derivatives, factorisations and fits, "
            "compiled as in your own programs, with NumPy, in float32 and float64, on the default "
            "device. Takes less than a minute, compiling anew each time. Exit code 1 when "
            "something is wrong."
        ),
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Prints the table; returns 1 when a result is wrong."""
    del options
    begin, wrong, known = time.perf_counter(), 0, False
    device = jax.devices()[0]
    say(
        f"JAX {jax.__version__}, jaxlib {faults.INSTALLED}, {device.platform} "
        f"({device.device_kind})"
    )
    if faults.INSTALLED in faults.WRONG:
        say(f"known to be wrong on processors: {faults.WRONG[faults.INSTALLED]}")
    say(f"{'':<22} {'dtype':<8} {'error':>9}  (1: what rounding explains at the most)")
    for outcome in outcomes():
        wrong += not (outcome.is_right or outcome.is_known)
        known |= not outcome.is_right and outcome.is_known
        verdict = "ok" if outcome.is_right else "WRONG"
        say(
            f"{outcome.name:<22} {outcome.dtype:<8} {outcome.error:>9.2g}  {verdict:<5}  "
            f"{outcome.where}"
        )
    if known:
        right = ".".join(map(str, faults.RIGHT_AGAIN))
        say(
            f"{faults.WORKED_AROUND}: known of jaxlib before {right}. Converted models avoid "
            "them, programs that lmjax compiles are right; your own under jax.jit are not, in "
            f"float64. jaxlib {right} (Python 3.12) is right, and so is "
            "XLA_FLAGS=--xla_cpu_use_fusion_emitters=false"
        )
    seconds = time.perf_counter() - begin
    if wrong:
        say(
            f"{wrong} wrong, in {seconds:.0f} s: install another version of JAX, and tell "
            "its authors (https://github.com/jax-ml/jax/issues)"
        )
    else:
        say(f"all {'else ' if known else ''}right, in {seconds:.0f} s")
    check_said()
    return 1 if wrong else 0
