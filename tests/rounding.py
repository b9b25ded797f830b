"""How far rounding may move a figure: bounds from the arithmetic, for tests whose tolerance would
else be what one machine printed.
"""

import numpy as np


def of_mean_square(loss: float, magnitude: float, terms: int, dtype: type) -> float:
    """How far two evaluations of mean(r²) = ``loss`` in ``dtype`` may differ, whichever order and
    instructions they take.

    A residual is a sum of ``terms`` numbers whose magnitudes add up to at most ``magnitude``, so
    each evaluation has it to ``terms``·ε·``magnitude`` (Higham, Accuracy and Stability of Numerical
    Algorithms, 2002, equation 3.7); two differ by twice that, δ. The mean of squares then differs
    by at most 2 √loss δ + δ² (Cauchy and Schwarz), beside the rounding of the mean itself.
    """
    epsilon = float(np.finfo(dtype).eps)
    moved = 2 * terms * epsilon * magnitude
    return 2 * np.sqrt(loss) * moved + moved**2 + 2 * terms * epsilon * loss
