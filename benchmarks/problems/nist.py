"""The 27 nonlinear regression problems of NIST's Statistical Reference Datasets.

Public domain work of the US government; ``nist_strd.json`` says how the figures were collected and
checked.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import jax.numpy as jnp
import numpy as np

_FUNCTIONS = {
    name: getattr(jnp, name) for name in ("exp", "log", "sqrt", "cos", "sin", "arctan", "pi")
}


@dataclass(frozen=True)
class NistProblem:
    name: str
    record: dict

    def start(self, which):
        return np.array(self.record[f"start{which}"], float)

    @property
    def data(self):
        predictors = [
            np.array(self.record[key], float) for key in ("x", "x1", "x2") if key in self.record
        ]
        y = np.array(self.record["y"], float)
        return (*predictors, np.log(y) if self.record["y_transform"] == "log" else y)

    def residuals(self):
        """A residual function (params, *data); the expression comes from the project's own data
        file.
        """
        code = compile(self.record["model"], self.name, "eval")
        names = ("x",) if "x" in self.record else ("x1", "x2")

        def residual_fn(params, *data):
            values = {f"b{k + 1}": params[k] for k in range(self.record["n_params"])}
            return data[-1] - eval(
                code, _FUNCTIONS | values | dict(zip(names, data[:-1], strict=True))
            )

        return residual_fn

    def certified_digits(self, params):
        """The least number of correct digits of any parameter, over the relabellings that give the
        same model.
        """
        certified = np.array([float(value) for value in self.record["polished_params"]])
        return max(
            _digits(np.asarray(params)[e["perm"]] * np.array(e["sign"]), certified)
            for e in self.record["equivalent"]
        )

    def digits_of_standard_errors(self, errors):
        certified = np.array([float(value) for value in self.record["polished_sd"]])
        return max(
            _digits(np.asarray(errors)[e["perm"]], certified) for e in self.record["equivalent"]
        )


def _digits(values, certified):
    if not np.isfinite(values).all():
        return -1.0
    return float(-np.log10(np.maximum(np.abs(values - certified) / np.abs(certified), 1e-15)).max())


@cache
def problems():
    records = json.loads((Path(__file__).parent / "nist_strd.json").read_text())["problems"]
    return tuple(NistProblem(record["name"], record) for record in records)
