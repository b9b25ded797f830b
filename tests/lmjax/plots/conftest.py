"""Pictures without a window, and none left open."""

import matplotlib as mpl
import pytest


@pytest.fixture(autouse=True)
def no_window():
    mpl.use("Agg")
    from matplotlib import pyplot

    yield
    pyplot.close("all")
