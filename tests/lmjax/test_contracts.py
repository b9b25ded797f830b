"""What the protocols say is all that counts: a plain delegate of any implementation does bit for
bit what that does; and an object that lacks something is refused by name.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import lmjax
from lmjax._src.levenberg_marquardt.bounds import bounds_for
from lmjax._src.objectives.losses import named
from lmjax._src.objectives.losses.step_weights import ByStep
from lmjax._src.runtime import contracts
from tests.lmjax import contract_problems as problems
from tests.lmjax.delegates import delegate
from tests.lmjax.implementations import CHOICES, LOSSES, ROBUST, RULES, SCALINGS, SOLVERS

#: Runs that end without a minimum are among what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")

EXTEND = lmjax.extend

#: Losses that are compared in every run of the tests, on all rows at once: the plain one, and one
#: with targets of another shape.
FAST = (lmjax.losses.MeanSquaredError, lmjax.losses.SparseCategoricalCrossentropy)

BY_STEP = tuple(name for name in vars(ByStep) if not name.startswith("_"))

OFFSET = tuple(name for name in vars(EXTEND.Offset) if not name.startswith("_"))

#: (name of the option, an implementation, its protocol, further options).
OPTIONS: list[tuple[str, Any, type, dict[str, Any]]] = [
    *(("damping", rule, EXTEND.DampingRule, {}) for rule in RULES),
    *(("scaling", scaling, EXTEND.Scaling, {}) for scaling in SCALINGS),
    *(("linear_solver", solver, EXTEND.LinearSolver, {}) for solver in SOLVERS),
    *(("linear_solver", choice, EXTEND.LinearSolverChoice, {}) for choice in CHOICES),
    # Solvers that truncate, and rules whose steps are halved, or are not.
    (
        "linear_solver",
        lmjax.ConjugateGradients(),
        EXTEND.LinearSolver,
        {"damping": lmjax.TrustRegion()},
    ),
    ("damping", lmjax.TrustRegion(), EXTEND.DampingRule, {"halvings": 4}),
    ("damping", lmjax.Nielsen(), EXTEND.DampingRule, {"halvings": 4}),
]
IDS = [
    " ".join([type(implementation).__name__, *options]) for _, implementation, _, options in OPTIONS
]

#: Each implementation meets one problem in every run of the tests, and all in the slow ones.
DIAGONAL = [
    (*option, tuple(problems.PROBLEMS)[number % len(problems.PROBLEMS)])
    for number, option in enumerate(OPTIONS)
    if "halvings" not in option[-1]
]


def assert_same(ones: list[np.ndarray], others: list[np.ndarray]) -> None:
    assert [one.tobytes() for one in ones] == [other.tobytes() for other in others]


def compare(name: str, implementation: Any, protocol: type, options: Any, problem: str) -> None:
    solver = lmjax.LevenbergMarquardt(**{name: implementation}, **options)
    passed_on = dataclasses.replace(solver, **{name: delegate(implementation, protocol)})
    assert_same(problems.numbers(problem, passed_on), problems.numbers(problem, solver))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "implementation", "protocol", "options", "problem"), DIAGONAL, ids=IDS[: len(DIAGONAL)]
)
def test_a_delegate_is_what_it_passes_on_to(
    name: str, implementation: Any, protocol: type, options: dict[str, Any], problem: str
) -> None:
    fast = {"second_run": False} if problems.counts(problem, "second_run") else {}
    compare(name, implementation, protocol, fast | options, problem)


EVERYWHERE = [
    pytest.param(*option, problem, id=f"{label}-{problem}")
    for option, label in zip(OPTIONS, IDS, strict=True)
    for problem in problems.PROBLEMS
    if all(problems.counts(problem, name) for name in option[-1])
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "implementation", "protocol", "options", "problem"), EVERYWHERE)
def test_a_delegate_is_what_it_passes_on_to_everywhere(
    name: str, implementation: Any, protocol: type, options: dict[str, Any], problem: str
) -> None:
    compare(name, implementation, protocol, options, problem)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ROBUST, ids=lambda loss: type(loss).__name__)
def test_a_delegate_of_a_robust_loss(loss: Any) -> None:
    solver = lmjax.LevenbergMarquardt(second_run=False)
    passed_on = delegate(loss, EXTEND.RobustLoss, is_pytree=True)
    assert_same(*(problems.curve_fit(solver, loss=one) for one in (loss, passed_on)))


def classified(loss: Any, **options: Any) -> list[np.ndarray]:
    """A fit with three outputs to targets of the kind that the loss takes, a weight for each row."""
    random = np.random.default_rng(2)
    classes = random.integers(0, 3, len(problems.INPUTS))
    sparse = loss.target_shape((1, 3)) == (1,)
    return problems.numbers_of_fit(
        lmjax.fit(
            problems.network,
            problems.network_start() | {"outer": random.normal(size=(4, 3))},
            problems.INPUTS,
            classes if sparse else np.eye(3)[classes],
            sample_weight=random.uniform(0.5, 2, len(classes)),
            loss=loss,
            epochs=3,
            verbose=0,
            **options,
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "batch_size"),
    [
        pytest.param(
            loss,
            size,
            marks=[] if size is None and isinstance(loss, FAST) else pytest.mark.slow,
            id=f"{type(loss).__name__} {'whole' if size is None else 'batches'}",
        )
        for loss in LOSSES
        for size in (None, 8)
    ],
)
def test_a_delegate_of_a_loss(loss: Any, batch_size: int | None) -> None:
    beside = BY_STEP if isinstance(loss, EXTEND.ByStep) else ()
    beside += OFFSET if isinstance(loss, EXTEND.Offset) else ()
    passed_on = delegate(loss, EXTEND.Loss, beside)
    assert_same(*(classified(one, batch_size=batch_size) for one in (loss, passed_on)))


@pytest.mark.slow
def test_a_delegate_of_bounds() -> None:
    """Two of the parameters end at a bound, and one has a single value."""
    start = problems.network_start()
    lower = jax.tree.map(lambda leaf: np.full_like(leaf, -0.8), start)
    upper = jax.tree.map(lambda leaf: np.full_like(leaf, 0.9), start)
    lower["bias"][1] = upper["bias"][1] = 0.3
    bounds = bounds_for(start, (lower, upper), np.dtype(float))
    solver = lmjax.LevenbergMarquardt()
    passed_on = delegate(bounds, EXTEND.FeasibleSet, is_pytree=True)
    ones, others = (problems.trained(solver, bounds=one) for one in (bounds, passed_on))
    assert_same(ones, others)
    assert ones[0][1] == 0.3
    assert max(abs(ones[1]).max(), abs(ones[2]).max()) == 0.9


def test_there_are_implementations_of_each_protocol() -> None:
    assert min(map(len, (RULES, SCALINGS, SOLVERS, ROBUST, LOSSES))) >= 3
    assert {type(loss) for loss in named.LOSSES.values()} <= {type(loss) for loss in LOSSES}


class TestRefusals:
    @pytest.mark.parametrize(
        ("name", "protocol"),
        [
            ("damping", EXTEND.DampingRule),
            ("scaling", EXTEND.Scaling),
            ("linear_solver", EXTEND.LinearSolver),
        ],
    )
    def test_what_lacks_everything_is_told_all_of_it(self, name: str, protocol: type) -> None:
        with pytest.raises(ValueError, match=f"^{name}: expected .*{protocol.__name__}") as caught:
            lmjax.LevenbergMarquardt(**{name: object()})
        for member in contracts.members(protocol):
            assert member in str(caught.value)

    def test_what_a_protocol_has_by_itself_is_said(self) -> None:
        class Constant:
            def init(self, diagonal: Any, scaling: Any) -> Any:
                return EXTEND.DampingState(jnp.ones(()), jnp.ones(()))

            def accept(self, state: Any, *gain_ratio: Any) -> Any:
                return state

            shorten = reject = accept

        with pytest.raises(
            ValueError,
            match=r"without solve\(\), restart\(\), gives_damped_steps; a class that inherits "
            r"from lmjax.extend.DampingRule has solve\(\), restart\(\), gives_damped_steps$",
        ):
            lmjax.LevenbergMarquardt(damping=Constant())

    def test_one_that_inherits_and_is_not_finished_is_refused_by_python(self) -> None:
        class Half(EXTEND.DampingRule):
            def init(self, gauss_newton_diagonal: Any, scaling: Any) -> Any:
                return EXTEND.DampingState(jnp.ones(()), jnp.ones(()))

        with pytest.raises(TypeError, match=r"accept.*reject.*shorten"):
            Half()  # type: ignore[abstract]

    def test_a_choice_that_does_not_say_how_to_go_on(self) -> None:
        class Chooses:
            def choose(self, objective: Any, params: Any) -> Any:
                return lmjax.QR()

        with pytest.raises(ValueError, match=r"linear_solver: .*choose_for_ill_conditioned\(\)"):
            lmjax.LevenbergMarquardt(linear_solver=Chooses())

    def test_a_class_in_place_of_an_instance(self) -> None:
        with pytest.raises(ValueError, match=r"damping: .* the class Nielsen itself; call it"):
            lmjax.LevenbergMarquardt(damping=lmjax.Nielsen)  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", ["damping", "scaling", "linear_solver"])
    def test_what_has_no_hash(self, name: str) -> None:
        kind = type(getattr(lmjax.LevenbergMarquardt(linear_solver=lmjax.QR()), name))
        loose = dataclasses.make_dataclass("Loose", [], bases=(kind,), frozen=True)
        loose.__hash__ = None  # type: ignore[assignment]
        with pytest.raises(ValueError, match=f"^{name}: Loose has no hash.*frozen dataclass"):
            lmjax.LevenbergMarquardt(**{name: loose()})

    def test_losses(self) -> None:
        x = np.ones((3, 1))

        def fit(loss: Any) -> Any:
            return lmjax.fit(lambda p, x: p * x, np.ones(1), x, x, loss=loss, verbose=0)

        class Value:
            def value(self, outputs: Any, targets: Any) -> Any:
                return outputs

        with pytest.raises(ValueError, match=r"loss: expected a lmjax.extend.Loss.*root_product"):
            fit(Value())

        loose = dataclasses.make_dataclass(
            "Unhashed", [], bases=(lmjax.losses.MeanSquaredError,), frozen=True
        )
        loose.__hash__ = None  # type: ignore[assignment]
        with pytest.raises(ValueError, match=r"loss: Unhashed has no hash.*frozen dataclass"):
            fit(loose())

    def test_robust_losses(self) -> None:
        class Terms(EXTEND.RobustLoss):
            def terms(self, z: Any) -> Any:
                return z, z, z

        with pytest.raises(ValueError, match=r"loss: expected a lmjax.extend.RobustLoss.* scale"):
            lmjax.least_squares(lambda p: p, np.ones(2), loss=Terms())
        Terms.scale = 1.0
        with pytest.raises(ValueError, match=r"loss: Terms is no pytree; .*extend.robust_loss"):
            lmjax.least_squares(lambda p: p, np.ones(2), loss=Terms())

    def test_sets(self) -> None:
        class Projects:
            def project(self, params: Any) -> Any:
                return params

        class Everything(EXTEND.FeasibleSet):
            def project(self, params: Any) -> Any:
                return params

            def free(self, params: Any, gradient: Any) -> Any:
                return params == params

        x = np.ones((3, 1))
        for bounds, message in (
            (Projects(), r"bounds: .*FeasibleSet.*without free\(\), beyond\(\), known"),
            (Everything(), "bounds: Everything is no pytree"),
        ):
            with pytest.raises(ValueError, match=message):
                lmjax.fit(lambda p, x: p * x, np.ones(1), x, x, bounds=bounds, verbose=0)
