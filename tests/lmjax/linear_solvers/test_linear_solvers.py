"""Every linear solver against a dense oracle, on the systems that a run meets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import lmjax
from lmjax._src.arrays.structure import Structure
from lmjax._src.levenberg_marquardt.damping import DampingState
from lmjax._src.levenberg_marquardt.state import initial_state
from lmjax._src.linear_solvers.scaled_cholesky import pivots, scaled_factor, scaled_solve
from lmjax._src.objectives.curvature import Form, Operator
from lmjax._src.objectives.linearization import Gradient, Linearization, restrict
from lmjax._src.objectives.residuals import ResidualObjective
from tests.lmjax.implementations import SOLVERS

#: Runs that end without a minimum are among what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore::lmjax.ConvergenceWarning")

SHAPES = ((8, 5), (5, 5), (3, 6))


def linear(params, matrix, target):
    return matrix @ params - target


def linearized(solver, matrix, target, params):
    objective = ResidualObjective(
        (matrix, target), jax.tree_util.Partial(linear), Structure.of(params)
    )
    # Solved to the end, as for the confirmation of a stop: what is left is rounding.
    return objective.linearize(params, solver.form)._replace(decrease=0.0)


@jax.jit
def steps(matrix, target, params, damping, scaling, free):
    """{solver: step} of the damped system with some parameters held fixed."""
    found = {}
    for solver in (*SOLVERS, lmjax.ConjugateGradients(rank=0), lmjax.ConjugateGradients(rank=2)):
        linearization = solver.prepare(restrict(linearized(solver, matrix, target, params), free))
        factors = solver.factor(linearization, damping, scaling)
        found[repr(solver)] = solver.solve(factors, linearization.source)
    return found


def oracle(matrix, target, params, damping, scaling, free):
    """The damped step by NumPy's least squares of the stacked system, in float64."""
    matrix, target, params, scaling = (
        np.asarray(array, float) for array in (matrix, target, params, scaling)
    )
    stacked = np.concatenate([np.where(free, matrix, 0), np.diag(np.sqrt(damping * scaling))])
    lengths = np.linalg.norm(stacked, axis=0)
    residuals = np.concatenate([matrix @ params - target, np.zeros(params.size)])
    return -np.linalg.lstsq(stacked / lengths, residuals, rcond=None)[0] / lengths


def make(generator, shape, kind, dtype):
    rows, columns = shape
    matrix = generator.normal(size=shape)
    if kind == "zero column":
        matrix[:, 0] = 0
    if kind == "rank one":
        matrix = np.outer(matrix[:, 0], matrix[0])
    if kind == "equal columns" and columns > 1:
        matrix[:, 1] = matrix[:, 0]
    if kind == "units":
        matrix = matrix * np.geomspace(1e-6, 1e6, columns)
    scaling = np.sum(matrix**2, axis=0)
    scaling[scaling == 0] = 1
    return (
        matrix.astype(dtype),
        generator.normal(size=rows).astype(dtype),
        np.zeros(columns, dtype),
        scaling.astype(dtype),
    )


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    kind=st.sampled_from(["full", "zero column", "rank one", "equal columns", "units"]),
    dtype=st.sampled_from([np.float32, np.float64]),
    fixed=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_steps_agree_with_numpy(shape, kind, dtype, fixed, seed):
    generator = np.random.default_rng(seed)
    matrix, target, params, scaling = make(generator, shape, kind, dtype)
    free = np.ones(params.size, bool)
    free[-1] = not fixed
    damping = dtype(1e-2)
    with jax.enable_x64(dtype is np.float64):
        found = jax.tree.map(np.asarray, steps(matrix, target, params, damping, scaling, free))
    expected = oracle(matrix, target, params, damping, scaling, free)
    unit = np.sqrt(np.asarray(scaling, float))  # what a step of a parameter means for the residuals
    for name, step in found.items():
        np.testing.assert_allclose(
            step * unit, expected * unit, atol=2e-3 if dtype is np.float32 else 1e-11, err_msg=name
        )
        assert fixed <= (step[-1] == 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 3, 8, 9])  # up to 8 are written out, and not scaled
def test_cholesky_whatever_the_units(size, dtype):
    random, epsilon = np.random.default_rng(size), np.finfo(dtype).eps
    root = random.normal(size=(size + 5, size)) * 10.0 ** random.uniform(-6, 6, size)
    matrix = (root.T @ root).astype(dtype)
    target = random.normal(size=size).astype(dtype)
    with jax.enable_x64(dtype == "float64"):
        factors = scaled_factor(jnp.asarray(matrix))
        solution, shares = (
            np.asarray(scaled_solve(factors, jnp.asarray(target)), float),
            np.asarray(pivots(factors)),
        )
    units = 1 / np.sqrt(np.diagonal(matrix.astype(float)))
    scaled = matrix * units[:, None] * units
    expected = units * np.linalg.solve(scaled, units * target)
    error = np.linalg.norm((solution - expected) / units)
    assert error < 10 * size * epsilon * np.linalg.cond(scaled) * np.linalg.norm(expected / units)
    np.testing.assert_allclose(
        shares,
        np.diagonal(np.linalg.cholesky(scaled)) ** 2,
        rtol=100 * size * epsilon * np.linalg.cond(scaled),
    )


def test_qr_keeps_digits_that_the_normal_equations_lose():
    with jax.enable_x64(True):
        x = np.linspace(1, 2, 30)
        matrix = np.vander(x, 8)  # condition number 1e10 after scaling the columns
        target, params = matrix @ np.ones(8), np.zeros(8)
        tiny, scaling = 1e-30, np.ones(8)
        qr, _ = (
            solver.solve(solver.factor(linearization, tiny, scaling), linearization.source)
            for solver, linearization in (
                (s, linearized(s, matrix, target, params)) for s in (lmjax.QR(), lmjax.Cholesky())
            )
        )
        assert np.abs(qr - 1).max() < 1e-5


def test_a_gradient_outside_of_the_rows_is_solved_too():
    """A penalty's gradient, and that of a loss without pseudo-residuals: the part that Jᵀ rows does
    not reach.
    """
    with jax.enable_x64(True):
        generator = np.random.default_rng(0)
        matrix, target, params, scaling = make(generator, (4, 6), "full", np.float64)
        rest, rows, ridge = generator.normal(size=6), generator.normal(size=4), generator.random(6)
        full = matrix.T @ matrix + np.diag(ridge + 0.1 * scaling)
        expected = -np.linalg.solve(full, matrix.T @ rows + rest)
        for solver in (lmjax.QR(), lmjax.DualCholesky()):
            linearization = linearized(solver, matrix, target, params)
            curvature = linearization.curvature._replace(ridge=jnp.asarray(ridge))
            factors = solver.factor(linearization._replace(curvature=curvature), 0.1, scaling)
            np.testing.assert_allclose(
                solver.solve(factors, Gradient(rows, rest)), expected, rtol=1e-9
            )


def residual_fn(params, x, y):
    return params["a"] * jnp.exp(-params["b"] * x) + params["c"] - y


X = np.linspace(0.0, 3.0, 40)
Y = 2.0 * np.exp(-1.5 * X) + 0.3 + 0.01 * np.cos(9 * X)
START = {"a": np.array(1.0), "b": np.array(1.0), "c": np.array(0.0)}


@pytest.mark.parametrize("linear_solver", SOLVERS, ids=lambda solver: type(solver).__name__)
class TestRuns:
    @pytest.mark.slow
    def test_the_same_answer(self, linear_solver):
        solver = lmjax.LevenbergMarquardt(linear_solver=linear_solver)
        expected = lmjax.least_squares(residual_fn, START, (X, Y))
        solution = lmjax.least_squares(residual_fn, START, (X, Y), solver=solver)
        assert solution.linear_solver == type(linear_solver).__name__
        assert solution.status.success
        np.testing.assert_allclose(solution.params["b"], expected.params["b"], rtol=1e-9)

    @pytest.mark.slow
    def test_bounds_and_vmap(self, linear_solver):
        solver = lmjax.LevenbergMarquardt(linear_solver=linear_solver)
        bounds = ({"a": None, "b": 0.0, "c": 0.35}, {"a": 1.9, "b": None, "c": np.inf})
        start = {"a": 1.0, "b": 1.0, "c": 0.5}
        with jax.enable_x64(True):
            many = jax.vmap(
                lambda y: (
                    lmjax.least_squares(
                        residual_fn, start, (X, y), solver=solver, bounds=bounds
                    ).params
                )
            )(jnp.stack([Y, Y + 0.1]))
        for k, offset in enumerate((0.0, 0.1)):
            expected = lmjax.least_squares(
                residual_fn, start, (X, Y + offset), bounds=bounds
            ).params
            np.testing.assert_allclose(
                [many[n][k] for n in "abc"], [expected[n] for n in "abc"], rtol=1e-6
            )

    def test_units_a_zero_column_and_two_that_are_one(self, linear_solver):
        """a and its twin are only determined as a sum; d has no influence; the units differ by
        1e12.
        """

        def twins(p, x, y):
            return 1e6 * p["a"] + 1e6 * p["twin"] + 1e-6 * p["b"] * x + 0 * p["d"] - y

        start = {name: np.array(1.0) for name in ("a", "twin", "b", "d")}
        solution = lmjax.least_squares(
            twins,
            start,
            (X, 3.0 + 0.5 * X),
            solver=lmjax.LevenbergMarquardt(linear_solver=linear_solver),
        )
        assert float(solution.cost) < 1e-12
        np.testing.assert_allclose(solution.params["a"] + solution.params["twin"], 3e-6, rtol=1e-6)
        np.testing.assert_allclose(solution.params["b"], 5e5, rtol=1e-6)
        assert solution.params["d"] == 1

    @pytest.mark.slow
    @pytest.mark.parametrize("loss", ["mse", "categorical_crossentropy"])
    def test_fit(self, linear_solver, loss):
        """A network with more parameters than outputs, with a penalty: all solvers take the same
        first steps.

        With one damping for all parameters, since the dual form from layers averages diag(JᵀJ) over
        each array.
        """
        generator = np.random.default_rng(0)
        x, labels = generator.normal(size=(7, 2)), np.eye(3)[generator.integers(0, 3, 7)]
        start = {"in": generator.normal(size=(2, 4)), "out": generator.normal(size=(4, 3))}
        if isinstance(linear_solver, lmjax.ConjugateGradients):
            linear_solver = lmjax.ConjugateGradients(largest=1e-12)  # not ended early
        options = {"damping": FromOneHundredth(), "scaling": lmjax.IdentityScaling()}
        solvers = [
            lmjax.LevenbergMarquardt(linear_solver=s, **options)
            for s in (linear_solver, lmjax.Cholesky())
        ]
        results = [
            lmjax.fit(
                network[loss], start, x, labels, loss=loss, l2=1e-2, epochs=4, verbose=0, solver=s
            )
            for s in solvers
        ]
        assert results[0].linear_solver == type(linear_solver).__name__
        np.testing.assert_allclose(
            results[0].history["loss"], results[1].history["loss"], rtol=1e-7
        )


class FromOneHundredth(lmjax.Nielsen):
    """A first λ that does not depend on diag(JᵀJ)."""

    def init(self, gauss_newton_diagonal, scaling):
        return DampingState(
            jnp.full((), 0.01, scaling.dtype), jnp.full((), self.growth, scaling.dtype)
        )


network = {
    "mse": lambda p, x: jnp.tanh(x @ p["in"]) @ p["out"],
    "categorical_crossentropy": lambda p, x: jax.nn.softmax(jnp.tanh(x @ p["in"]) @ p["out"]),
}


class TestConjugateGradients:
    @pytest.mark.slow
    def test_stores_no_matrix(self):
        """Ten thousand parameters and residuals: J would take 800 MB."""
        size = 10_000
        solver = lmjax.LevenbergMarquardt(linear_solver=lmjax.ConjugateGradients())

        def residuals(p):
            return jnp.concatenate([p**2 - 2, p[1:] - p[:-1]])

        with jax.enable_x64(True):
            start = jnp.linspace(0.5, 3, size)
            step = (
                jax.jit(lambda p, s: solver.step(residuals, p, s))
                .lower(start, initial_state(start))
                .compile()
            )
        assert step.memory_analysis().temp_size_in_bytes < 64 * 2**20
        solution = lmjax.least_squares(residuals, np.linspace(0.5, 3, size), solver=solver)
        assert solution.status.success
        np.testing.assert_allclose(solution.params, np.sqrt(2), rtol=1e-6)

    @pytest.mark.slow
    @pytest.mark.usefixtures("double_everywhere")
    @pytest.mark.parametrize("decay", ["power", "exponential"])
    def test_a_sketch_saves_products(self, decay):
        """Of all products with the matrix, those for the sketch counted, at least half are saved on
        ill-conditioned systems.
        """
        generator, size = np.random.default_rng(0), 200
        scales = (
            np.arange(1, size + 1.0) ** -2 if decay == "power" else 10 ** (-np.arange(size) / 20)
        )
        jacobian = np.diag(scales) @ np.linalg.qr(generator.normal(size=(size, size)))[0]
        gradient, damping = jacobian.T @ generator.normal(size=size), 1e-6
        diagonal = np.sum(jacobian**2, axis=0)
        expected = np.linalg.solve(jacobian.T @ jacobian + damping * np.diag(diagonal), -gradient)

        def products(rank):
            count = 0

            def product(vector):
                nonlocal count
                count += 1
                return jacobian.T @ (jacobian @ np.asarray(vector))

            def operator(vector):
                return jax.pure_callback(product, jax.ShapeDtypeStruct((size,), np.float64), vector)

            solver = lmjax.ConjugateGradients(
                forcing=1, largest=1e-6, max_iterations=2000, rank=rank
            )
            source = Gradient(rest=jnp.asarray(gradient))
            linearization = Linearization(
                None,
                0.0,
                source.rest,
                jnp.asarray(diagonal),
                Operator(operator),
                source,
                decrease=1e-6,
            )
            prepared = solver.prepare(linearization)
            step = solver.solve(
                solver.factor(prepared, damping, jnp.asarray(diagonal)), prepared.source
            )
            np.testing.assert_allclose(step, expected, rtol=0, atol=1e-4 * np.linalg.norm(expected))
            return count

        assert products(40) < 0.5 * products(0)

    def test_one_sketch_serves_all_dampings(self):
        """From a start that needs several attempts: the sketch's products are not made again in the
        loop over dampings.
        """

        def residuals(p):
            return jnp.stack([10 * (p[1] - p[0] ** 2), 1 - p[0]])

        solver = lmjax.LevenbergMarquardt(linear_solver=lmjax.ConjugateGradients(rank=2))
        jaxpr = jax.make_jaxpr(lambda p: solver.step(residuals, p, initial_state(p)))(
            np.ones(2, "float32")
        )

        def sketches_in_loops(jaxpr, inside):
            total = 0
            for equation in jaxpr.eqns:
                total += inside and equation.primitive.name == "random_bits"
                for value in jax.tree.leaves(
                    list(equation.params.values()),
                    is_leaf=lambda v: hasattr(v, "jaxpr") or hasattr(v, "eqns"),
                ):
                    if hasattr(value, "jaxpr") or hasattr(value, "eqns"):
                        total += sketches_in_loops(
                            getattr(value, "jaxpr", value),
                            inside or equation.primitive.name == "while",
                        )
            return total

        assert "random_bits" in str(jaxpr)
        assert sketches_in_loops(jaxpr.jaxpr, False) == 0

    @pytest.mark.parametrize(
        "options",
        [{"rank": -1}, {"largest": 0}, {"largest": 1.0}, {"forcing": 0}, {"max_iterations": 0}],
    )
    def test_options(self, options):
        with pytest.raises(ValueError, match=next(iter(options))):
            lmjax.ConjugateGradients(**options)


class TestAuto:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("rows", "columns", "memory", "expected"),
        [
            (9, 4, None, "Cholesky"),
            (3, 4, None, "DualCholesky"),
            (9, 4, 8 * 9 * 4 - 1, "ConjugateGradients"),
            (2, 9, 8, "ConjugateGradients"),
        ],
    )
    def test_chooses_by_shape_and_memory(self, rows, columns, memory, expected):
        generator = np.random.default_rng(0)
        matrix, target = generator.normal(size=(rows, columns)), generator.normal(size=rows)
        solver = lmjax.LevenbergMarquardt(linear_solver=lmjax.Auto(memory))
        solution = lmjax.least_squares(linear, np.zeros(columns), (matrix, target), solver=solver)
        assert solution.linear_solver == expected
        assert solution.status.success
        best = np.linalg.lstsq(matrix, target, rcond=None)[0]
        np.testing.assert_allclose(matrix @ solution.params, matrix @ best, atol=1e-9)

    @pytest.mark.slow
    def test_the_choice_leaves_a_jitted_function(self):
        solution = jax.jit(lambda p: lmjax.least_squares(lambda p: p - 1.0, p))(jnp.zeros(2))
        assert solution.linear_solver == "Cholesky"


def test_an_object_that_solves_nothing_is_named():
    with pytest.raises(ValueError, match="linear_solver"):
        lmjax.LevenbergMarquardt(linear_solver="qr")


def test_every_form_has_a_solver():
    assert {solver.form for solver in SOLVERS} == set(Form)


def polynomial(params, x, y):
    return jnp.stack([params[k] * x**k for k in range(params.shape[0])]).sum(axis=0) - y


class TestConditioning:
    """A polynomial of degree 10 on [-9, -3], whose Jacobian has a condition of 3e9 with columns of
    length one.
    """

    X = np.linspace(-9, -3, 82)
    COEFFICIENTS = np.random.default_rng(0).normal(size=11)

    def solve(self, linear_solver, **options):
        solver = lmjax.LevenbergMarquardt(linear_solver=linear_solver, polish=False, **options)
        y = np.polynomial.polynomial.polyval(self.X, self.COEFFICIENTS)
        return lmjax.least_squares(polynomial, np.zeros(11), (self.X, y), solver=solver)

    @pytest.mark.slow
    def test_auto_goes_on_with_qr(self):
        normal, auto = self.solve(lmjax.Cholesky()), self.solve(lmjax.Auto())
        assert auto.linear_solver == "QR"
        assert auto.status.success
        assert auto.cost < 0.1 * normal.cost
        assert auto.num_steps < normal.num_steps  # which creep to their limit

    @pytest.mark.slow
    def test_not_where_memory_forbids_and_within_the_step_limit(self):
        # J has 82 × 11 × 8 bytes.
        assert self.solve(lmjax.Auto(memory=7215)).linear_solver == "ConjugateGradients"
        limited = self.solve(lmjax.Auto(), max_steps=3)
        assert (limited.linear_solver, int(limited.num_steps)) == ("Cholesky", 3)

    def test_well_conditioned_problems_stay(self):
        solver = lmjax.LevenbergMarquardt(polish=False)
        assert (
            lmjax.least_squares(
                lambda p: jnp.exp(p) - 3.0, np.zeros(3), solver=solver
            ).linear_solver
            == "Cholesky"
        )
