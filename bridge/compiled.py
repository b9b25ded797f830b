"""What a model was compiled with beside its loss, which a fit does not compute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

#: Names in the line; a model with more outputs and metrics would fill the terminal.
_LISTED = 8


def metrics_of(model: Any) -> list[str]:
    """The names of the metrics that a live model was compiled with, ``weighted_metrics`` included."""
    compiled = [getattr(model, name, None) for name in ("_compile_metrics", "compiled_metrics")]  # Keras 3 and Keras 2
    return [
        name
        for metrics in compiled
        for option in ("_user_metrics", "_user_weighted_metrics")
        for name in _names(getattr(metrics, option, None))
    ]


def serialized_metrics(compiled: Mapping[str, Any]) -> list[str]:
    """Those of a ``compile_config`` as Keras writes it; none where it is nested deeper than Keras would."""
    try:
        return [name for option in ("metrics", "weighted_metrics") for name in _names(compiled.get(option))]
    except RecursionError:
        return []


def without_metrics(names: list[str]) -> str:
    """The line that says so."""
    word = "metric" if len(names) == 1 else "metrics"
    listed = [name if name.isprintable() else repr(name) for name in names[:_LISTED]] + ["…"] * (len(names) > _LISTED)
    return f"the {word} {', '.join(listed)} of compile() will not be in the history, which holds losses; model.evaluate computes them"


def _names(metrics: Any) -> Iterator[str]:
    """The names in a structure of metrics: names, functions, objects, or what Keras writes for them."""
    if isinstance(metrics, Mapping) and "class_name" in metrics:
        config = metrics.get("config")
        yield str(config.get("name") or metrics["class_name"]) if isinstance(config, Mapping) else str(config or metrics["class_name"])
    elif isinstance(metrics, (Mapping, list, tuple)):
        for item in metrics.values() if isinstance(metrics, Mapping) else metrics:
            yield from _names(item)
    elif metrics is not None:
        yield str(metrics if isinstance(metrics, str) else getattr(metrics, "name", getattr(metrics, "__name__", type(metrics).__name__)))
