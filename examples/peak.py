"""Fits a peak on a sloping background: parameters with errors, and the curve with its 95 %
prediction band.

python examples/peak.py [--output peak.png]
"""

import argparse

import jax.numpy as jnp
import matplotlib as mpl
import numpy as np

import lmjax

mpl.use("Agg")
import matplotlib.pyplot as plt

NAMES = ("height", "position", "width", "offset", "slope")


def peak(x, height, position, width, offset, slope):
    return height * jnp.exp(-(((x - position) / width) ** 2)) + offset + slope * x


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", default="peak.png", help="where the plot goes")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="accepted for the sake of the other examples; this one is quick",
    )
    options = parser.parse_args(arguments)
    x = np.linspace(0, 10, 80)
    y = np.asarray(peak(x, 3.0, 4.2, 1.1, 0.5, 0.08)) + 0.15 * np.random.default_rng(0).normal(
        size=80
    )
    start = [1.0, x[np.argmax(y)], 1.0, 0.0, 0.0]

    popt, pcov = lmjax.curve_fit(peak, x, y, start)  # what one import changes
    for name, value, error in zip(NAMES, popt, np.sqrt(np.diag(pcov)), strict=True):
        print(f"{name:8} {value:7.3f} ± {error:.3f}")

    # The same, with all statistics.
    solution = lmjax.least_squares(lambda p, x, y: peak(x, *p) - y, np.array(start), (x, y))
    band = solution.predict_interval(lambda p, x: peak(x, *p), (x,))
    inside = np.mean((band.lower <= y) & (y <= band.upper))
    print(
        f"{solution.degrees_of_freedom()} degrees of freedom, condition "
        f"{solution.condition():.1f}, {inside:.0%} of the points in the band"
    )

    figure, panel = plt.subplots(figsize=(6, 4), layout="constrained")
    panel.fill_between(x, band.lower, band.upper, alpha=0.3, label="95 % prediction band")
    panel.plot(x, peak(x, *popt), label="fit")
    panel.scatter(x, y, s=8, color="black", label="data")
    panel.legend(loc="upper right")
    figure.savefig(options.output, dpi=150)
    plt.close(figure)
    return popt, pcov, inside


if __name__ == "__main__":
    main()
