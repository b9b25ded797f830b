"""Cases of layers that turn numbers into categories."""

from __future__ import annotations

from typing import Any

from tests.bridge.layers.cases import Case

VOCABULARY = (2, 250, 17, 3, 101)


def _lookup(shape: tuple[int, ...] = (6,), **options: Any) -> Case:
    return Case(
        {"vocabulary": list(VOCABULARY), **options},
        shape,
        "pixels",
        label="-".join(map(str, options.values())),
    )


CATEGORICAL: dict[str, list[Case]] = {
    "Discretization": [
        Case({"bin_boundaries": [-0.5, 0.1, 1.0], "output_mode": mode}, (4,), smooth=False)
        for mode in ("int", "one_hot", "multi_hot", "count")
    ],
    "CategoryEncoding": [
        *(
            Case({"num_tokens": 5, "output_mode": mode}, (4,), "tokens")
            for mode in ("one_hot", "multi_hot", "count")
        ),
        Case({"num_tokens": 5, "output_mode": "one_hot"}, (1,), "tokens"),
    ],
    "Hashing": [
        Case({"num_bins": 1000}, (7,), "pixels"),
        Case({"num_bins": 1000}, (7,), smooth=False),
        Case({"num_bins": 8, "mask_value": 3, "output_mode": "one_hot"}, (1,), "tokens"),
        Case({"num_bins": 9, "salt": 133, "output_mode": "multi_hot"}, (4,), "pixels"),
        Case(
            {"num_bins": 9, "salt": [133, 137], "mask_value": 2, "output_mode": "count"},
            (4,),
            "tokens",
        ),
    ],
    "IntegerLookup": [
        _lookup(),
        Case({"vocabulary": [0, 1, 2, 3, 4], "num_oov_indices": 0}, (4,), "tokens"),
        Case(
            {"vocabulary": [7, -1, 4, 2], "mask_token": 7},
            (4,),
            "tokens",
            label="special words given",
        ),
        Case(
            {"vocabulary": [70, 40, 20], "invert": True, "mask_token": 9, "oov_token": -5},
            (6,),
            "tokens",
            label="invert",
        ),
        _lookup(num_oov_indices=3, mask_token=7),
        _lookup(num_oov_indices=3, oov_method="farmhash", output_mode="one_hot"),
        _lookup(
            num_oov_indices=2, oov_method="farmhash", salt=5, mask_token=7, output_mode="multi_hot"
        ),
        _lookup(output_mode="count", max_tokens=9, pad_to_max_tokens=True),
        _lookup(
            output_mode="tf_idf",
            idf_weights=[0.1, 0.2, 0.3, 0.4, 0.6],
            max_tokens=9,
            pad_to_max_tokens=True,
        ),
    ],
}
