"""Every function of ``keras.ops`` that is a pure function of tensors, as a JAX function."""

# The layers first: they need these tables, and some functions here are computed by layers.
import bridge.layers  # noqa: F401
from bridge.operations.tables import NO_FUNCTIONS, REFUSED, TABLE, TENSORFLOW, Function, operation_of

__all__ = ["NO_FUNCTIONS", "REFUSED", "TABLE", "TENSORFLOW", "Function", "operation_of"]
