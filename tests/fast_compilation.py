"""Prints the options with which XLA compiles for the CPU without optimising, as far as the
installed version knows them.

An option that it does not know ends the process, so a process of its own is asked, and TensorFlow's
XLA too, which reads the same variable when Keras compiles a convolution. Used by the Makefile.
"""

import os
import subprocess
import sys

#: Measured on four small calls of least_squares, jaxlib 0.10.2: all three take the CPU time from
#: 6.0 to 1.7 s, the first alone to 2.7 s. jaxlib 0.12 no longer has the first, and no longer needs
#: it.
OPTIONS = (
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
    "--xla_backend_optimization_level=0",
)
_PARSE = (
    "from jaxlib import xla_client; xla_client.CompileOptions()",
    """
try:
    import tensorflow as tf
except ImportError:
    raise SystemExit
tf.function(lambda x: x + 1, jit_compile=True)(tf.constant(1.0))
""",
)
_NOWHERE = subprocess.DEVNULL


def known(options: tuple[str, ...]) -> bool:
    environment = os.environ | {"XLA_FLAGS": " ".join(options)}
    asked = [
        subprocess.Popen(
            [sys.executable, "-c", parse], env=environment, stdout=_NOWHERE, stderr=_NOWHERE
        )
        for parse in _PARSE
    ]
    codes = [process.wait() for process in asked]
    return not any(codes)


if __name__ == "__main__":
    print(*(OPTIONS if known(OPTIONS) else [option for option in OPTIONS if known((option,))]))
