"""Every script under examples/ in its shortened form."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

_FOLDER = Path(__file__).parents[2] / "examples"


def run(name, tmp_path):
    spec = importlib.util.spec_from_file_location(name, _FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    answer = module.main(["--quick", "--output", str(tmp_path / "plot.png")])
    assert (tmp_path / "plot.png").stat().st_size > 5000
    return module, answer


@pytest.mark.slow
def test_poisson(tmp_path):
    """In the same seconds, in which nobody compiles, LM goes far below the others."""
    _, runs = run("poisson", tmp_path)
    costs = {name: losses.min() for name, (_, losses, _) in runs.items()}
    assert len(costs) == 3
    assert costs.pop("Levenberg-Marquardt") < 1e-2 * min(costs.values())


@pytest.mark.slow
def test_conductivity(tmp_path):
    """The standard error is that of a fit of the exact solution, whose only unknown is the
    conductivity.
    """
    module, ((kappa, error), (expected, expected_error)) = run("conductivity", tmp_path)
    assert kappa == pytest.approx(expected, abs=0.2 * expected_error)
    assert error == pytest.approx(expected_error, rel=0.1)
    assert abs(kappa - module.KAPPA) < 4 * error


def test_peak(tmp_path):
    _, (popt, pcov, inside) = run("peak", tmp_path)
    assert popt[1] == pytest.approx(4.2, abs=4 * pcov[1, 1] ** 0.5)
    assert 0.85 <= inside <= 1


@pytest.mark.slow
def test_many_peaks(tmp_path):
    """The standard errors are as large as the errors."""
    _, (converged, scaled) = run("many_peaks", tmp_path)
    assert converged.all()
    assert np.sqrt(np.mean(scaled**2)) == pytest.approx(1, abs=4 / np.sqrt(2 * scaled.size))
