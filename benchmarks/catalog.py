"""Which peers solve which workloads."""

from __future__ import annotations

from benchmarks.problems.nist import problems
from benchmarks.session import Session
from benchmarks.worker import COMPILATION, SAMPLED, Peer
from benchmarks.workloads.curves import misra1a, peaks
from benchmarks.workloads.equation import poisson
from benchmarks.workloads.learning import digits, teacher
from benchmarks.workloads.regression import mlp, sinc, wide
from benchmarks.workloads.streaming import on_disk

_TORCH = "torch-levenberg-marquardt float32, cholesky"

#: How the rows of a file are read.
_READ = {
    "streamed": {"streamed": True},
    "in memory": {"streamed": False},
    "streamed with JᵀJ of a sample": {"streamed": True, "sampled": True},
}

SESSIONS = (
    Session(
        name="target",
        description=(
            "sinc(10x), N = 20000, 61 parameters: seconds to a mean squared error; median of "
            "the starts, given up at 20 s"
        ),
        workload=sinc,
        peers=(
            Peer(
                "lmjax float64, 16 starts",
                "time_to_target",
                {"method": "lmjax", "dtype": "float64"},
            ),
            Peer(
                "lmjax float32, 16 starts",
                "time_to_target",
                {"method": "lmjax", "dtype": "float32"},
            ),
            Peer(
                "lmjax float64, all rows in JᵀJ, 16 starts",
                "time_to_target",
                {"method": "lmjax", "dtype": "float64", "curvature_sample": None},
            ),
            Peer(
                "torch-levenberg-marquardt float32, cholesky, 3 starts",
                "time_to_target",
                {"method": "torch", "starts": 3},
            ),
        ),
        baseline="torch-levenberg-marquardt float32, cholesky, 3 starts",
        compared="mse < 1e-08",
        columns=(
            "mse < 1e-08 with compilation",
            "mse < 1e-06",
            "share of starts below 1e-08",
            SAMPLED,
        ),
        most_rounds=1,
    ),
    Session(
        name="sinc",
        description=(
            "one full-batch LM step on sinc(10x), N = 20000, Dense(20, tanh)-Dense(1), 61 "
            "parameters"
        ),
        workload=sinc,
        peers=(
            Peer("lmjax float32", "lmjax_fit", {"dtype": "float32"}),
            Peer("lmjax float64", "lmjax_fit", {"dtype": "float64"}),
            Peer(
                "lmjax float32, all rows in JᵀJ",
                "lmjax_fit",
                {"dtype": "float32", "curvature_sample": None},
            ),
            Peer(
                "lmjax float64, all rows in JᵀJ",
                "lmjax_fit",
                {"dtype": "float64", "curvature_sample": None},
            ),
            Peer(
                "lmjax float64, no geodesic acceleration",
                "lmjax_fit",
                {"dtype": "float64", "geodesic_acceleration": False},
            ),
            Peer(_TORCH, "torch_levenberg_marquardt", {"solve_method": "cholesky"}),
            Peer(
                "torch-levenberg-marquardt float32, default (qr)",
                "torch_levenberg_marquardt",
                {"solve_method": "qr"},
            ),
            Peer("tf-levenberg-marquardt float32, default (qr)", "tf_levenberg_marquardt", {}),
            Peer("jaxopt float64, default (cg)", "jaxopt_lm", {"dtype": "float64"}),
            Peer("optimistix float64, default (qr)", "optimistix_lm", {"dtype": "float64"}),
            Peer("SciPy lm float64", "scipy_lm"),
            Peer("NLSQ float64", "nlsq_fit"),
            Peer("tensorflow-graphics float32", "tensorflow_graphics_lm", slow=True),
            Peer("floor: NumPy JᵀJ and Cholesky float32", "numpy_floor", {"dtype": "float32"}),
            Peer("floor: NumPy JᵀJ and Cholesky float64", "numpy_floor", {"dtype": "float64"}),
            Peer("this machine float32", "machine", {"dtype": "float32"}),
            Peer("this machine float64", "machine", {"dtype": "float64"}),
        ),
        baseline=_TORCH,
        compared="step",
        columns=(COMPILATION, SAMPLED),
    ),
    Session(
        name="mlp",
        description="one full-batch LM step on 8-40-40-1, N = 10000, 2041 parameters",
        workload=mlp,
        peers=(
            Peer("lmjax float32", "lmjax_fit", {"dtype": "float32", "steps": (1, 4)}),
            Peer("lmjax float64", "lmjax_fit", {"dtype": "float64", "steps": (1, 4)}),
            Peer(_TORCH, "torch_levenberg_marquardt", {"solve_method": "cholesky", "steps": 2}),
            Peer(
                "torch-levenberg-marquardt float32, default (qr)",
                "torch_levenberg_marquardt",
                {"solve_method": "qr", "steps": 2},
            ),
            Peer(
                "tf-levenberg-marquardt float32, default (qr)",
                "tf_levenberg_marquardt",
                {"steps": 1},
                slow=True,
            ),
            Peer("tensorflow-graphics float32", "tensorflow_graphics_lm", slow=True),
            Peer("jaxopt float64, default (cg)", "jaxopt_lm", {"dtype": "float64"}, slow=True),
            Peer(
                "optimistix float64, default (qr)", "optimistix_lm", {"dtype": "float64"}, slow=True
            ),
            Peer("NLSQ float64", "nlsq_fit"),
            Peer("SciPy lm float64", "scipy_lm", slow=True),
            Peer("floor: NumPy JᵀJ and Cholesky float32", "numpy_floor", {"dtype": "float32"}),
            Peer("floor: NumPy JᵀJ and Cholesky float64", "numpy_floor", {"dtype": "float64"}),
        ),
        baseline=_TORCH,
        compared="step",
        most_rounds=2,
    ),
    Session(
        name="wide",
        description="one full-batch LM step on 45120-300-3, N = 38, 13537203 parameters",
        workload=wide,
        peers=(
            Peer("lmjax float32", "lmjax_fit", {"dtype": "float32", "steps": (2, 12)}),
            Peer("lmjax float64", "lmjax_fit", {"dtype": "float64", "steps": (2, 12)}),
            Peer(
                _TORCH,
                "torch_levenberg_marquardt",
                {"solve_method": "cholesky", "steps": 1},
                slow=True,
            ),
        ),
        baseline=_TORCH,
        compared="step",
        most_rounds=3,
    ),
    Session(
        name="streaming",
        description="one LM step on rows of 20 inputs in a file, float32, 507 parameters",
        workload=on_disk,
        peers=tuple(
            Peer(f"lmjax {kind}, {rows:,} rows", "lmjax_streaming", {"rows": rows, **options})
            for rows in (250_000, 1_000_000)
            for kind, options in _READ.items()
        ),
        baseline="lmjax in memory, 1,000,000 rows",
        compared="step",
        most_rounds=1,
    ),
    Session(
        name="startup",
        description=(
            "first step of sinc(10x), N = 2000, 61 parameters, float64, in a new process, "
            "imports not counted"
        ),
        workload=sinc,
        peers=(
            Peer("lmjax, nothing cached", "first_step", {"package": "lmjax"}),
            Peer("lmjax, programs cached", "first_step", {"package": "lmjax", "warm": True}),
            Peer("jaxopt", "first_step", {"package": "jaxopt"}),
            Peer("optimistix", "first_step", {"package": "optimistix"}),
            Peer(
                "optimistix, programs cached", "first_step", {"package": "optimistix", "warm": True}
            ),
        ),
        baseline="optimistix",
        compared="first step",
        most_rounds=3,
    ),
    *(
        Session(
            name=f"minibatch-{task.__name__}",
            description=(
                f"{what}; equal seconds (5 quick, 20 full; Adam for each rate), weights with "
                "the least training loss"
            ),
            workload=task,
            peers=(
                Peer(f"lmjax, batches of {size}", "learning", {"method": "lmjax"}),
                Peer(f"Keras Adam, {tuned}, batches of {size}", "learning", {"method": "adam"}),
                Peer("Optax L-BFGS, full batch", "learning", {"method": "lbfgs"}),
            ),
            baseline=f"Keras Adam, {tuned}, batches of {size}",
            compared="test error",
            most_rounds=1,
        )
        for tuned in ("best of 5 rates, cosine schedule",)
        for task, size, what in (
            (
                teacher,
                256,
                (
                    "regression 8-100-100-1 on 20000 samples of a random network: mean "
                    "squared error on 5000 others"
                ),
            ),
            (
                digits,
                64,
                (
                    "classification 64-150-10 of 1400 handwritten digits: share of wrong "
                    "classes on 397 others"
                ),
            ),
        )
    ),
    Session(
        name="poisson",
        description=(
            "examples/poisson.py: 337 weights, 512 points; relative error of the solution "
            "after equal seconds (7 quick, 15 full)"
        ),
        workload=poisson,
        peers=(
            Peer("lmjax", "poisson", {"method": "levenberg_marquardt"}),
            Peer("Optax L-BFGS", "poisson", {"method": "lbfgs"}),
            Peer("Optax Adam, best of 4 rates, cosine schedule", "poisson", {"method": "adam"}),
        ),
        baseline="Optax L-BFGS",
        compared="relative error",
        columns=("cost",),
        most_rounds=3,
    ),
    Session(
        name="peaks",
        description=(
            "5000 Gaussian peaks of 64 points, 4 parameters, from one start: time of one fit"
        ),
        workload=peaks,
        peers=(
            Peer("scipy.optimize.curve_fit, a loop", "curves", {"kind": "scipy"}),
            Peer("lmjax float64, jit(vmap)", "curves", {"kind": "batch"}),
            Peer("lmjax float32, jit(vmap)", "curves", {"kind": "batch", "dtype": "float32"}),
            Peer(
                "lmjax float64, jit(shard_map(vmap)), a device for each core",
                "curves",
                {"kind": "cores"},
            ),
            Peer(
                "lmjax float32, jit(shard_map(vmap)), a device for each core",
                "curves",
                {"kind": "cores", "dtype": "float32"},
            ),
        ),
        baseline="scipy.optimize.curve_fit, a loop",
        compared="fit",
    ),
    Session(
        name="calls",
        description="NIST's Misra1a (14 points, 2 parameters): time of one warm call",
        workload=misra1a,
        peers=(
            Peer("scipy.optimize.least_squares lm", "curves", {"kind": "scipy"}),
            Peer("lmjax.least_squares from Python", "curves", {"kind": "call"}),
            Peer("lmjax.least_squares inside jit", "curves", {"kind": "jit"}),
            Peer("optimistix inside jit", "curves", {"kind": "optimistix"}),
        ),
        baseline="scipy.optimize.least_squares lm",
        compared="fit",
    ),
    Session(
        name="certified",
        description=(
            "NIST's 27 problems from both starts, each inside jit: geometric mean of the "
            "times of a call"
        ),
        workload=problems,
        peers=(
            Peer("lmjax", "certified", {"package": "lmjax"}),
            Peer(
                "optimistix, tolerances 1e-8",
                "certified",
                {"package": "optimistix", "tolerance": 1e-8},
            ),
            Peer(
                "optimistix, tolerances 1e-10",
                "certified",
                {"package": "optimistix", "tolerance": 1e-10},
            ),
        ),
        baseline="optimistix, tolerances 1e-8",
        compared="call",
    ),
)
