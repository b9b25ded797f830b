"""Every public name is documented, and the examples in the docstrings run."""

from __future__ import annotations

import dataclasses
import doctest
import enum
import functools
import importlib
import importlib.util
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

_ROOT = Path(__file__).parents[1]

#: What is public is what these modules name in ``__all__``.
FACES = (
    "lmjax",
    "lmjax.losses",
    "lmjax.optax",
    "lmjax.extend",
    "lmjax.plots",
    "lmjax.sklearn",
    "bridge",
    "bridge.layers",
    "lmjax.keras",
    "lmjax.keras.layers",
)


def _public() -> dict[str, Any]:
    """Every public class, function and module by its name, each once."""
    found: dict[int, tuple[str, Any]] = {}
    for face in map(importlib.import_module, FACES):
        found.setdefault(id(face), (face.__name__, face))
        for name in face.__all__:
            value = getattr(face, name)
            found.setdefault(id(value), (f"{face.__name__}.{name}", value))
    return dict(found.values())


def _methods(name: str, cls: type) -> Iterator[tuple[str, str, Any]]:
    """(name, method, the function or property) of the public methods that a class itself defines."""
    for method, value in vars(cls).items():
        value = getattr(value, "__func__", value)  # of class methods and static ones
        if not method.startswith("_") and (
            inspect.isfunction(value) or isinstance(value, (property, functools.cached_property))
        ):
            yield f"{name}.{method}", method, value


PUBLIC = _public()
CLASSES = {name: value for name, value in PUBLIC.items() if inspect.isclass(value)}
FUNCTIONS = {name: value for name, value in PUBLIC.items() if inspect.isfunction(value)}
METHODS = {
    name: (cls, method, value)
    for owner, cls in CLASSES.items()
    for name, method, value in _methods(owner, cls)
}


def _sections(doc: str | None) -> dict[str, list[str]]:
    """The lines of each section of a docstring in Google's style."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in inspect.cleandoc(doc or "").splitlines():
        heading = re.match(r"(Args|Attributes|Example|Raises|Returns|Warns|Yields):", line)
        if heading:
            lines = found.setdefault(heading[1], [])
        elif line and not line.startswith(" "):
            lines = []  # text again
        else:
            lines.append(line)
    return found


def _entries(doc: str | None) -> set[str]:
    """The names that Args and Attributes explain."""
    sections = _sections(doc)
    lines = [*sections.get("Args", []), *sections.get("Attributes", [])]
    headings = [re.match(r"    (\*{0,2}\w+(?:, \w+)*):", line) for line in lines]
    return {name.lstrip("*") for found in headings if found for name in found[1].split(", ")}


def _parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self", "cls"}


def _fields(cls: type) -> set[str]:
    """What a class is made of, or its members."""
    if issubclass(cls, enum.Enum):
        return set(cls.__members__)
    if dataclasses.is_dataclass(cls):
        own = {field.name for field in dataclasses.fields(cls) if not field.name.startswith("_")}
        return own - ({"parent", "name"} if hasattr(cls, "scope") else set())  # Flax' own
    if hasattr(cls, "_fields"):
        return set(cls._fields)
    if getattr(cls, "_is_protocol", False) or "__init__" not in vars(cls):
        return set()
    return _parameters(cls.__init__)


def _documents(cls: type, method: str) -> list[str]:
    """The docstrings of a method: of the class itself, and of those whose contract it fulfils."""
    return [vars(base)[method].__doc__ or "" for base in cls.__mro__ if method in vars(base)]


def _returns_something(function: Any) -> bool:
    return inspect.signature(function).return_annotation not in (None, "None")


def test_all_is_documented() -> None:
    bare = [name for name, value in PUBLIC.items() if not value.__doc__]
    bare += [name for name, (*_, value) in METHODS.items() if not value.__doc__]
    bare += [  # dataclasses and named tuples make one up
        name for name, cls in CLASSES.items() if (cls.__doc__ or "").startswith(f"{cls.__name__}(")
    ]
    assert not bare


def test_classes_and_functions_have_examples() -> None:
    assert not {*CLASSES, *FUNCTIONS} - {test.name for test in EXAMPLES}


def test_all_parameters_and_fields_are_explained() -> None:
    missing = {name: _fields(cls) - _entries(cls.__doc__) for name, cls in CLASSES.items()}
    for name, function in FUNCTIONS.items():
        missing[name] = _parameters(function) - _entries(function.__doc__)
    for name, (cls, method, value) in METHODS.items():
        if inspect.isfunction(value):
            explained = set[str]().union(*map(_entries, _documents(cls, method)))
            missing[name] = _parameters(value) - explained
    assert not {name: sorted(lacking) for name, lacking in missing.items() if lacking}


def test_what_is_returned_is_explained() -> None:
    documents = {name: [value.__doc__] for name, value in FUNCTIONS.items()}
    for name, (cls, method, value) in METHODS.items():
        if inspect.isfunction(value) and _returns_something(value):
            documents[name] = _documents(cls, method)
    assert not [
        name
        for name, docs in documents.items()
        if not any("Returns" in _sections(doc) for doc in docs)
        and _returns_something(FUNCTIONS.get(name) or METHODS[name][2])
    ]


def test_docstrings_name_nothing_private() -> None:
    documents = {name: value.__doc__ for name, value in PUBLIC.items()}
    documents |= {name: value.__doc__ for name, (*_, value) in METHODS.items()}
    assert not [name for name, doc in documents.items() if "_src" in doc]


def _examples() -> list[doctest.DocTest]:
    finder = doctest.DocTestFinder(recurse=False)
    values = PUBLIC | {name: value for name, (*_, value) in METHODS.items()}
    found: list[doctest.DocTest] = []
    for name, value in values.items():
        found += finder.find(value, name, module=False, globs={})
    return [test for test in found if test.examples]


EXAMPLES = _examples()


def _needs_keras(example: doctest.DocTest) -> bool:
    return any("import keras" in line.source for line in example.examples)


def _failures(example: doctest.DocTest) -> str:
    said: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(example, out=said.append)
    assert results.attempted
    return "".join(said) if results.failed else ""


@pytest.mark.parametrize(
    "example",
    [example for example in EXAMPLES if not _needs_keras(example)],
    ids=lambda example: example.name,
)
def test_example_runs(
    example: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not _failures(example)


@pytest.mark.slow
def test_examples_with_keras_run(tmp_path: Path) -> None:
    """In a process of their own, on Keras' JAX backend: they need no TensorFlow."""
    if importlib.util.find_spec("keras") is None:
        pytest.skip("keras is not installed: pip install 'lmjax[keras]'")
    done = subprocess.run(
        [sys.executable, __file__],
        cwd=tmp_path,
        env={**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) == sum(map(_needs_keras, EXAMPLES))


def _run_examples_with_keras() -> None:
    sys.modules["tensorflow"] = None  # type: ignore[assignment] # as if it were not installed
    examples = [example for example in EXAMPLES if _needs_keras(example)]
    failures = "".join(map(_failures, examples))
    if failures:
        sys.exit(failures)
    print(len(examples))


if __name__ == "__main__":
    _run_examples_with_keras()
