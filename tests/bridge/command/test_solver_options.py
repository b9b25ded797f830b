"""The options of ``lmjax fit`` that choose how it steps reach the solver, or are refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import lmjax
from bridge._src.command.main import main
from lmjax._src.training.epochs.minibatch import BATCH_SOLVER
from lmjax._src.training.fit import FIT_SOLVER


@pytest.fixture
def arrays(table: np.ndarray, tmp_path: Path) -> Path:
    """1 200 samples that the model can learn."""
    normal = (table - table.mean(axis=0)) / table.std(axis=0)
    many = np.tile(normal, (10, 1)) + 0.01 * np.random.default_rng(1).normal(size=(1200, 4))
    np.savez(tmp_path / "many.npz", x=many[:, :3], y=many[:, 3:])
    return tmp_path / "many.npz"


@pytest.fixture
def folder(arrays: Path, tmp_path: Path) -> Path:
    """The same, to be streamed."""
    place = tmp_path / "arrays"
    place.mkdir()
    with np.load(arrays) as archive:
        for name in ("x", "y"):
            np.save(place / f"{name}.npy", archive[name])
    return place


def _run(model: Path, data: Path, *more: str) -> tuple[int, Path]:
    output = data.parent / "fitted.keras"
    arguments = ["fit", str(model), str(data), "-o", str(output), "--epochs", "3", "-q", *more]
    return main(arguments), output


_DELAYED = lmjax.Multiplicative.delayed_gratification()
_CASES: list[tuple[str, lmjax.LevenbergMarquardt, int | None]] = [
    ("", FIT_SOLVER, None),
    ("--damping nielsen --linear-solver auto --curvature-sample auto", FIT_SOLVER, None),
    (
        "--damping multiplicative",
        replace(FIT_SOLVER, damping=lmjax.Multiplicative(initial=1e-2)),
        None,
    ),
    (
        "--damping delayed-gratification",
        replace(FIT_SOLVER, damping=replace(_DELAYED, initial=1e-2)),
        None,
    ),
    ("--damping trust-region", replace(FIT_SOLVER, damping=lmjax.TrustRegion()), None),
    ("--linear-solver cholesky", replace(FIT_SOLVER, linear_solver=lmjax.Cholesky()), None),
    ("--linear-solver qr", replace(FIT_SOLVER, linear_solver=lmjax.QR()), None),
    (
        "--linear-solver dual-cholesky --batch-size 16",
        replace(BATCH_SOLVER, linear_solver=lmjax.DualCholesky()),
        16,
    ),
    (
        "--linear-solver conjugate-gradients",
        replace(FIT_SOLVER, linear_solver=lmjax.ConjugateGradients()),
        None,
    ),
    ("--curvature-sample 4", replace(FIT_SOLVER, curvature_sample=4), None),
    ("--curvature-sample all", replace(FIT_SOLVER, curvature_sample=None), None),
    ("--batch-size 100", BATCH_SOLVER, 100),
    (
        "--batch-size 100 --damping multiplicative",
        replace(BATCH_SOLVER, damping=lmjax.Multiplicative(initial=1e-2, floor=1e-3)),
        100,
    ),
    (
        "--batch-size 100 --damping trust-region",
        replace(BATCH_SOLVER, damping=lmjax.TrustRegion()),
        100,
    ),
]


@pytest.mark.parametrize(("options", "solver", "batch_size"), _CASES)
def test_the_solver_is_the_one_that_was_asked_for(
    options: str,
    solver: lmjax.LevenbergMarquardt,
    batch_size: int | None,
    model_file: Path,
    arrays: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, Any] = {}

    class SeenError(Exception):
        pass

    def fit(*_: Any, **given: Any) -> None:
        seen.update(given)
        raise SeenError

    monkeypatch.setattr("lmjax.fit", fit)
    assert _run(model_file, arrays, *options.split(), "--seed", "5")[0] == 2
    assert seen["solver"] == solver
    assert (seen["batch_size"], seen["seed"]) == (batch_size, 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        "--damping trust-region --linear-solver qr",
        "--damping trust-region --batch-size 100",
        "--damping delayed-gratification --curvature-sample 4",
        "--linear-solver conjugate-gradients --batch-size 300 --damping multiplicative",
    ],
)
def test_fits_with_them_are_written(options: str, model_file: Path, arrays: Path) -> None:
    code, output = _run(model_file, arrays, *options.split())
    assert code == 0
    assert output.read_bytes() != model_file.read_bytes()


@pytest.mark.slow
def test_the_report_tells_of_a_sample(
    model_file: Path, arrays: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(arrays.parent / "fitted.keras")
    arguments = ["fit", str(model_file), str(arrays), "-o", output, "--epochs", "3"]
    assert main([*arguments, "-v", "--curvature-sample", "4"]) == 0
    assert "JᵀJ of 3 of the epochs came from a sample of the data" in capsys.readouterr().out


_REFUSED = [
    ("--curvature-sample 4 --batch-size 10", "--curvature-sample has no effect with --batch-size"),
    ("--curvature-sample all --batch-size 10", "--curvature-sample has no effect with --batch-s"),
    ("--curvature-sample 4 --linear-solver qr", "has no effect with --linear-solver qr"),
    (
        "--curvature-sample auto --linear-solver conjugate-gradients",
        "has no effect with --linear-solver conjugate-gradients",
    ),
    ("--curvature-sample 0", "expected a whole number of at least 1, auto or all, given 0"),
    ("--curvature-sample some", "expected a whole number of at least 1, auto or all, given some"),
    ("--batch-size 0", "expected a whole number of at least 1, given 0"),
    ("--damping levenberg", "invalid choice: 'levenberg'"),
    ("--linear-solver lu", "invalid choice: 'lu'"),
    ("--seed -1", "expected a whole number of at least 0, given -1"),
]


@pytest.mark.parametrize(("options", "message"), _REFUSED)
def test_what_would_have_no_effect_is_refused(
    options: str,
    message: str,
    model_file: Path,
    arrays: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        code, output = _run(model_file, arrays, *options.split())
    except SystemExit as exit_by_argparse:
        code, output = int(str(exit_by_argparse.code)), arrays.parent / "fitted.keras"
    assert code == 2
    assert message in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize("name", ["qr", "dual-cholesky", "conjugate-gradients"])
def test_streams_take_the_normal_equations(
    name: str, model_file: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(model_file, folder, "--linear-solver", name)[0] == 2
    assert f"--linear-solver {name} cannot work on data that are streamed" in (
        capsys.readouterr().err
    )


def test_few_samples_leave_no_sample(
    model_file: Path, npz_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(model_file, npz_file, "--curvature-sample", "2")[0] == 2
    assert "--curvature-sample 2 has no effect on 120 samples" in capsys.readouterr().err


def test_help_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    shown = capsys.readouterr().out
    for option in ("--damping", "--linear-solver", "--curvature-sample", "--batch-size"):
        assert option in shown
    assert "delayed-gratification" in shown
