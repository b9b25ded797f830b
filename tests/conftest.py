"""Settings that have to be in place before JAX, Keras or TensorFlow is imported, and what keeps
hundreds of tests in one process.
"""

import os
import signal
from pathlib import Path

# The oracle for float64 is Keras on TensorFlow: on JAX it computes in float32.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import jax  # which sets the level of messages where there is none
import pytest

from lmjax._src.runtime import bounded_jit

# Under a background job SIGINT is inherited as ignored, under nohup SIGHUP, and the tests of
# signals would wait for something that never comes, in processes of their own too.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

#: A compiled program takes up to some hundred memory mappings on the CPU. Linux allows a process 65
#: 530, and kills it (in LLVM, with a stack that tells nothing) at the next one.
_MOST_MAPPINGS = 20_000


def _mappings() -> int:
    try:
        return Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:  # not Linux, no such limit
        return 0


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Between two files, lets go of the compiled programs before there are too many of them."""
    if (nextitem is None or nextitem.path != item.path) and _mappings() > _MOST_MAPPINGS:
        jax.clear_caches()
        bounded_jit.forget()


@pytest.fixture
def double_everywhere():
    """JAX's 64-bit mode, also in the threads in which callbacks run."""
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)
