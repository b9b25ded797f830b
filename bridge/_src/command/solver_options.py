"""The options of ``lmjax fit`` that choose its steps: damping, linear solver, sample, batches."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import lmjax
from bridge._src.command.arguments import whole_number
from bridge._src.command.failure import CommandError
from lmjax._src.levenberg_marquardt.damping import DampingRule
from lmjax._src.objectives.curvature import Form
from lmjax._src.training.epochs.minibatch import BATCH_SOLVER
from lmjax._src.training.epochs.sampling import sample_size
from lmjax._src.training.fit import FIT_SOLVER

#: Rules by name, made from the one that is used where none is named, whose first λ and floor suit
#: networks.
_DAMPING: dict[str, Callable[[lmjax.Nielsen], DampingRule]] = {
    "nielsen": lambda usual: usual,
    "multiplicative": lambda usual: _begun_as(lmjax.Multiplicative(), usual),
    "delayed-gratification": lambda usual: _begun_as(
        lmjax.Multiplicative.delayed_gratification(), usual
    ),
    "trust-region": lambda _: lmjax.TrustRegion(),
}
_LINEAR_SOLVERS: dict[str, Callable[[], Any]] = {
    "auto": lmjax.Auto,
    "cholesky": lmjax.Cholesky,
    "qr": lmjax.QR,
    "dual-cholesky": lmjax.DualCholesky,
    "conjugate-gradients": lmjax.ConjugateGradients,
}
#: Those that work on JᵀJ, which can come from a sample, or be summed over data in pieces.
_ON_NORMAL_EQUATIONS = tuple(
    name
    for name, kind in _LINEAR_SOLVERS.items()
    if getattr(kind, "form", Form.NORMAL) is Form.NORMAL
)


def _begun_as(rule: lmjax.Multiplicative, usual: lmjax.Nielsen) -> lmjax.Multiplicative:
    return replace(rule, initial=usual.initial, floor=usual.floor)


def add_solver_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options, in a group of their own."""
    add = parser.add_argument_group("how it steps").add_argument
    add(
        "--damping",
        choices=list(_DAMPING),
        help="how λ is changed from step to step: by the gain ratio (nielsen), by fixed factors "
        "(multiplicative, delayed-gratification), or so that steps keep within a radius "
        "(trust-region) (default: nielsen)",
    )
    add(
        "--linear-solver",
        choices=list(_LINEAR_SOLVERS),
        help="how each step is solved for: on JᵀJ (cholesky), on J (qr), on JJᵀ, for fewer "
        "residuals than weights (dual-cholesky), or without a matrix (conjugate-gradients); auto "
        "chooses by sizes and memory (default: auto)",
    )
    add(
        "--curvature-sample",
        metavar="N|auto|all",
        type=_sample,
        help="take JᵀJ from random samples with N residuals for each weight, for as long as that "
        "lowers the loss fast; auto: 16, where that saves time; all: from all samples in every "
        "step. Loss and gradient come from all samples either way (default: auto)",
    )
    add(
        "--batch-size",
        metavar="N",
        type=whole_number,
        help="take a step on every N samples, and the weights that are best on all of them after "
        "an epoch (default: every step is on all samples)",
    )


def _sample(text: str) -> int | Literal["auto", "all"]:
    """A whole number of at least 1, "auto" or "all"."""
    if text == "auto":
        return "auto"
    if text == "all":
        return "all"
    try:
        return whole_number(text)
    except (ValueError, argparse.ArgumentTypeError):
        raise argparse.ArgumentTypeError(
            f"expected a whole number of at least 1, auto or all, given {text}"
        ) from None


def chosen_solver(
    options: argparse.Namespace, num_samples: int, streamed: bool
) -> lmjax.LevenbergMarquardt:
    """The solver that was asked for.

    Args:
        options: of the command.
        num_samples: how many there are to train on.
        streamed: whether they are read in pieces.

    Raises:
        CommandError: an option would have no effect beside another, or on these data; the message
            names both.
    """
    _check(options, num_samples, streamed)
    solver = FIT_SOLVER if options.batch_size is None else BATCH_SOLVER
    chosen: dict[str, Any] = {}
    if options.damping:
        assert isinstance(solver.damping, lmjax.Nielsen)
        chosen["damping"] = _DAMPING[options.damping](solver.damping)
    if options.linear_solver:
        chosen["linear_solver"] = _LINEAR_SOLVERS[options.linear_solver]()
    if options.curvature_sample:
        sample = options.curvature_sample
        chosen["curvature_sample"] = None if sample == "all" else sample
    return replace(solver, **chosen)


def _check(options: argparse.Namespace, num_samples: int, streamed: bool) -> None:
    in_batches, sample = options.batch_size is not None, options.curvature_sample
    on_normal_equations = options.linear_solver in (None, *_ON_NORMAL_EQUATIONS)
    if in_batches and sample:
        raise CommandError(
            "--curvature-sample has no effect with --batch-size, whose steps take JᵀJ from their "
            "batch; leave one of them out"
        )
    if sample and not on_normal_equations:
        raise CommandError(
            f"--curvature-sample has no effect with --linear-solver {options.linear_solver}, which "
            "does not form JᵀJ; leave it out, or take --linear-solver cholesky"
        )
    if streamed and not in_batches and not on_normal_equations:
        raise CommandError(
            f"--linear-solver {options.linear_solver} cannot work on data that are streamed, of "
            "which only JᵀJ is in memory; take cholesky, or --batch-size"
        )
    if isinstance(sample, int) and not _leaves_a_sample(sample, num_samples):
        raise CommandError(
            f"--curvature-sample {sample} has no effect on {num_samples} samples, which are too "
            "few for JᵀJ of a part of them to be worth it; leave it out"
        )


def _leaves_a_sample(wanted: int, num_samples: int) -> bool:
    """Whether the least sample, of a model without weights, is a small enough part."""
    solver = lmjax.LevenbergMarquardt(linear_solver=lmjax.Cholesky(), curvature_sample=wanted)
    return sample_size(solver, 0, num_samples, 1) is not None
