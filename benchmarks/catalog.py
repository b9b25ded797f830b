"""Which peers solve which workloads."""

from __future__ import annotations

from benchmarks.session import Session
from benchmarks.worker import Peer
from benchmarks.workloads.regression import sinc

_TORCH = "torch-levenberg-marquardt float32, cholesky"

SESSIONS = (
    Session(
        name="sinc",
        description="one full-batch LM step on sinc(10x), N = 20000, Dense(20, tanh)-Dense(1), 61 parameters",
        workload=sinc,
        peers=(
            Peer("lmjax float32", "lmjax_fit", {"dtype": "float32"}),
            Peer("lmjax float64", "lmjax_fit", {"dtype": "float64"}),
            Peer("lmjax float64, no geodesic acceleration", "lmjax_fit", {"dtype": "float64", "geodesic_acceleration": False}),
            Peer(_TORCH, "torch_levenberg_marquardt", {"solve_method": "cholesky"}),
            Peer("torch-levenberg-marquardt float32, default (qr)", "torch_levenberg_marquardt", {"solve_method": "qr"}),
            Peer("tf-levenberg-marquardt float32, default (qr)", "tf_levenberg_marquardt", {}),
            Peer("this machine float32", "machine", {"dtype": "float32"}),
            Peer("this machine float64", "machine", {"dtype": "float64"}),
        ),
        baseline=_TORCH,
        compared="step",
    ),
)
