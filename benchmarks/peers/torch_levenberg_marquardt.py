"""torch-levenberg-marquardt: its training step called directly, without a data loader, from the
same start.
"""

from __future__ import annotations

import time
from typing import Any

import torch
import torch_levenberg_marquardt as tlm

from benchmarks.worker import Mode, Quantity, Runner
from benchmarks.workloads.regression import Regression


def trainer(workload: Regression, solve_method: str) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """Its training module of the workload's network, and x and y."""
    layers: list[torch.nn.Module] = []
    for kernel, bias in workload.start():
        dense = torch.nn.utils.skip_init(torch.nn.Linear, *kernel.shape)
        dense.weight.data = torch.tensor(kernel.T, dtype=torch.float32)
        dense.bias.data = torch.tensor(bias, dtype=torch.float32)
        layers += [dense, torch.nn.Tanh()]
    module = tlm.training.LevenbergMarquardtModule(
        torch.nn.Sequential(*layers[:-1]), tlm.loss.MSELoss(), solve_method=solve_method
    )
    return module, *(torch.tensor(array, dtype=torch.float32) for array in (workload.x, workload.y))


def prepare(
    workload: Regression, mode: Mode, solve_method: str, steps: int | None = None
) -> Runner:
    """The package's defaults (float32, vmap) but for the linear solver."""
    module, x, y = trainer(workload, solve_method)
    start = module.flat_params.clone()
    steps = steps or (45 if mode == "quick" else 105)
    loss_name = f"mse after {steps} steps"

    def run(steps: int) -> dict[str, float]:
        module.flat_params.copy_(start)
        module.backup_parameters()
        module.reset()
        begin = time.perf_counter()
        for _ in range(steps):
            _, loss, _, _ = module.training_step(x, y)
        return {"step": (time.perf_counter() - begin) / steps, loss_name: float(loss)}

    quantities = {"step": Quantity("s", "lower"), loss_name: Quantity("", "info")}
    return Runner(lambda: run(steps), quantities, warm_up=lambda: run(2))
