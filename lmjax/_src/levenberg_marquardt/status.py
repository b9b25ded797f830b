"""Why a run stopped."""

from __future__ import annotations

import enum
import functools
import operator

from lmjax._src.runtime.user_warnings import warn
from lmjax._src.typing import Scalar


class Status(enum.IntEnum):
    """The reason for which a run stopped. The value of a member is the code that compiled loops
    carry, an int32.

    :attr:`message` says each reason in a sentence, with what to do about it.

    Attributes:
        RUNNING: 0, the run has not stopped yet.
        GRADIENT: 1, converged by ``gtol``.
        COST: 2, converged by ``ftol``.
        STEP: 3, converged by ``xtol``.
        PRECISION: 4, converged as far as the floating-point precision allows.
        MAX_STEPS: 5, the limit on steps or epochs was reached.
        DAMPING_EXHAUSTED: 6, no damping gave a step that lowers the cost, though the model promises
            one.
        NON_FINITE_START: 7, the cost or its derivatives are not finite at the start.
        INTERRUPTED: 8, Ctrl-C or a signal ended the run.
        NON_FINITE_DERIVATIVE: 9, the cost is finite but its derivatives are not.
        FLAT: 10, no parameter has any influence on the residuals.
        STOPPED: 11, a callback ended the fit.
        ILL_CONDITIONED: 12, columns of the Jacobian depend on each other too nearly to go on.
        SADDLE: 13, the run is at a saddle.
        UNDERFLOW: 14, the squares of the residuals are too small for their dtype.
        ZERO: 15, converged: residuals and parameters are zero beside those of the start.
        NEGATIVE: 16, the loss is negative, which no loss may be.
        PATIENCE: 17, the validation loss has not become smaller for ``patience`` epochs.
        GOAL: 18, the loss has reached ``goal``.
        TIME: 19, ``max_seconds`` have passed.
        MIN_GRADIENT: 20, the norm of the gradient has reached ``min_grad``.

    Example:
        >>> import numpy as np
        >>> import lmjax
        >>> solution = lmjax.least_squares(lambda p: p - 3, np.zeros(1))
        >>> solution.status.success
        True
        >>> lmjax.Status(5)
        <Status.MAX_STEPS: 5>
        >>> print(lmjax.Status.FLAT.message[:52])
        Stopped: no parameter has any influence on the resid
    """

    RUNNING = 0
    GRADIENT = 1
    COST = 2
    STEP = 3
    PRECISION = 4
    MAX_STEPS = 5
    DAMPING_EXHAUSTED = 6
    NON_FINITE_START = 7
    INTERRUPTED = 8
    NON_FINITE_DERIVATIVE = 9
    FLAT = 10
    STOPPED = 11
    ILL_CONDITIONED = 12
    SADDLE = 13
    UNDERFLOW = 14
    ZERO = 15
    NEGATIVE = 16
    PATIENCE = 17
    GOAL = 18
    TIME = 19
    MIN_GRADIENT = 20

    def __str__(self) -> str:
        """The name and the reason."""
        return f"{self.name}: {self.message}"

    def __format__(self, spec: str) -> str:
        """As :meth:`__str__`, unless a format of numbers is asked for."""
        return (
            int.__format__(self, spec)
            if spec[-1:] in tuple("bcdeEfFgGnoxX%")
            else format(str(self), spec)
        )

    @property
    def success(self) -> bool:
        """Whether the run ended at a stationary point."""
        return self in (Status.GRADIENT, Status.COST, Status.STEP, Status.PRECISION, Status.ZERO)

    @property
    def message(self) -> str:
        """The reason as a sentence, with what to do about it."""
        return _MESSAGES[self]


def is_success(code: Scalar) -> Scalar:
    """:attr:`Status.success` of a code, or of an array of codes, also under ``jit``."""
    return functools.reduce(operator.or_, (code == status for status in _SUCCESSES))


#: Numbers, with which NumPy's compare ten times faster.
_SUCCESSES = tuple(int(status) for status in Status if status.success)


_MESSAGES = {
    Status.RUNNING: "The run has not stopped yet.",
    Status.GRADIENT: (
        "Converged: every Jacobian column is orthogonal to the residuals to within gtol."
    ),
    Status.COST: (
        "Converged: the cost can be lowered by no more than a fraction ftol (confirmed with the "
        "undamped model)."
    ),
    Status.STEP: (
        "Converged: the last accepted step changed the parameters by no more than a "
        "fraction xtol (confirmed with the undamped model)."
    ),
    Status.PRECISION: (
        "Converged: no step lowers the cost any further in this floating-point precision, and "
        "the model without damping, or the one with the full Hessian, promises none."
    ),
    Status.ZERO: (
        "Converged: the residuals are zero beside those of the start, and steps only bring all "
        "parameters nearer to zero."
    ),
    Status.NEGATIVE: (
        "Stopped: the loss is negative, so that nothing can be compared with it; the parameters "
        "are the best found. Add a constant that keeps it at least 0."
    ),
    Status.MAX_STEPS: (
        "Stopped at the step limit before convergence; raise max_steps (epochs) to go on."
    ),
    Status.DAMPING_EXHAUSTED: (
        "Stopped: no damping gave a step that lowers the cost, though the model promises one; "
        "the parameters are the best found. Rounding hides what is left to gain (use float64, "
        "or other units), or the residuals have a kink or wrong derivatives here."
    ),
    Status.NON_FINITE_START: (
        "Not started: the cost or its derivatives are not finite at the initial parameters, "
        "which are returned unchanged. Start elsewhere, or set bounds."
    ),
    Status.INTERRUPTED: "Interrupted; the parameters are the best found so far.",
    Status.STOPPED: "Stopped by a callback; the parameters are the best found so far.",
    Status.PATIENCE: (
        "Stopped: the validation loss has not become smaller for as many epochs as patience allows."
    ),
    Status.GOAL: "Stopped: the loss has reached the goal.",
    Status.MIN_GRADIENT: "Stopped: the norm of the gradient is at most min_grad.",
    Status.TIME: (
        "Stopped at the time limit before convergence; the parameters are the best found so far. "
        "Raise max_seconds to go on."
    ),
    Status.FLAT: (
        "Stopped: no parameter has any influence on the residuals here (the Jacobian is "
        "zero), though they are not zero. Start elsewhere."
    ),
    Status.ILL_CONDITIONED: (
        "Stopped: no step lowers the cost, but columns of the Jacobian depend on each other so "
        "nearly that rounding hides whether one could; the parameters are the best found. Use "
        "float64, fix some parameters, or write the model with fewer of them."
    ),
    Status.SADDLE: (
        "Stopped at a saddle: the gradient is zero and the cost falls to either side, though "
        "not visibly in this precision. Start elsewhere; equal parameters that play the same "
        "part stay equal."
    ),
    Status.UNDERFLOW: (
        "Not started: the squares of the residuals are too small for their dtype, so that "
        "nothing can be compared. Multiply the residuals by a constant, or use float64."
    ),
    Status.NON_FINITE_DERIVATIVE: (
        "Stopped: the cost is finite but its derivatives are not (a root, logarithm or norm at "
        "zero?); the parameters are the best found so far."
    ),
}


class ConvergenceWarning(UserWarning):
    """A run ended without a minimum; the message says why and what to do.

    A program of one's own makes it an error by ``warnings.simplefilter("error",
    lmjax.ConvergenceWarning)``, or leaves it out by "ignore" and looks at the status.

    Example:
        >>> import warnings
        >>> import numpy as np
        >>> import lmjax
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("error", lmjax.ConvergenceWarning)
        ...     try:
        ...         lmjax.least_squares(lambda p: 0 * p + 1, np.zeros(1))
        ...     except lmjax.ConvergenceWarning as warning:
        ...         print(str(warning)[:39])
        least_squares: no minimum was found. St
    """


#: Ends that the caller asked for.
_ASKED_FOR = (
    *(Status.INTERRUPTED, Status.STOPPED, Status.PATIENCE),
    *(Status.GOAL, Status.TIME, Status.MIN_GRADIENT),
)


def warn_of_failure(name: str, status: Status) -> None:
    """Says that the call of that ``name`` found no minimum, unless it did, or was asked to end
    before.
    """
    if not (status.success or status in _ASKED_FOR):
        warn(f"{name}: no minimum was found. {status.message}", ConvergenceWarning)
