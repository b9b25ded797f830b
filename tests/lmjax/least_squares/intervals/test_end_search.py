"""The search for an end of an interval, on functions of one distance."""

import math

import pytest

from lmjax._src.least_squares.intervals.end_search import MAX_TRIALS, EndSearch


def found(root, level=2.0, expected=1.0, limit=math.inf, **options):
    """(end, trials) of a search along ``root``, a function of the distance."""
    options = {"far": 1e8, "tolerance": 1e-7, "size": 1.0, "epsilon": 2.2e-16, **options}
    search = EndSearch(level, expected, limit, **options)
    trials = 0
    while search.end is None:
        distance = search.trial
        assert 0 < distance <= limit
        search.tell(distance, root(distance))
        trials += 1
    return search.end, trials


@pytest.mark.parametrize(
    ("root", "end", "most"),
    [
        (lambda u: 2 * u, 1.0, 1),
        (lambda u: 2 * u + 0.3 * u**2, (math.sqrt(4 + 2.4) - 2) / 0.6, 5),
        (lambda u: math.sinh(u), math.asinh(2.0), 7),
        (lambda u: 2.2 * math.tanh(u), math.atanh(1 / 1.1), 9),
        (lambda u: u / 1e6, 2e6, 8),
        (lambda u: 1e6 * u, 2e-6, 40),
        (lambda u: 1e6 * u**3, 2e-6 ** (1 / 3), 40),
        (lambda u: math.sqrt(u), 4.0, 8),
    ],
    ids=["line", "parabola", "steeper", "flatter", "far", "near", "cubic", "root"],
)
def test_ends(root, end, most):
    got, trials = found(root)
    assert got == pytest.approx(end, rel=1e-9)
    assert trials <= most


def test_a_root_that_stays_below_the_level_has_no_end():
    assert found(lambda u: 1.9 * math.tanh(u))[0] == math.inf
    assert found(lambda u: 1.9, expected=1e-5)[0] == math.inf


def test_a_bound_is_the_end_where_the_root_is_below_the_level():
    assert found(lambda u: u, limit=1.5)[0] == 1.5
    assert found(lambda u: u, limit=0.5)[0] == 0.5
    assert found(lambda u: 0.0, limit=1e12)[0] == 1e12
    assert found(lambda u: u, limit=3.0)[0] == pytest.approx(2.0)


def test_where_there_are_no_numbers_is_outside():
    for nothing in (math.inf, math.nan):
        end, trials = found(lambda u, nothing=nothing: u if u < 1.7 else nothing, expected=10.0)
        assert end == pytest.approx(1.7, rel=1e-6)
        assert end < 1.7
        assert trials < 40


def test_a_jump_over_the_level_is_found():
    end, trials = found(lambda u: 1.0 if u < 1.3 else 5.0)
    assert end == pytest.approx(1.3, rel=1e-9)
    assert trials < MAX_TRIALS


def test_noise_ends_the_search():
    def root(u):
        return 2 * u + 1e-3 * math.sin(1e9 * u)

    end, trials = found(root, tolerance=1e-9)
    assert end == pytest.approx(1.0, rel=1e-3)
    assert trials <= MAX_TRIALS


def test_a_lower_cost_on_the_way_is_no_end():
    end, _ = found(lambda u: (u - 2) * abs(u - 2) if u < 3 else u - 2)
    assert end == pytest.approx(4.0)


def test_distances_that_rounding_cannot_tell_end_at_the_solution():
    assert found(lambda u: 1e30 * u, expected=2e-10, size=1e6)[0] <= 1e-9
