"""Intervals do what sets of numbers do, in memory that depends on gaps only."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from mqproof.harness.intervals import Intervals

ranges = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)).map(lambda pair: (pair[0], sum(pair))), max_size=12)


def numbers(parts: list[tuple[int, int]]) -> set[int]:
    return {number for start, stop in parts for number in range(start, stop)}


@given(ranges)
def test_adding_says_how_many_were_new(parts: list[tuple[int, int]]) -> None:
    intervals, model = Intervals(), set[int]()
    for start, stop in parts:
        assert intervals.add(start, stop) == len(set(range(start, stop)) - model)
        model |= set(range(start, stop))
    assert len(intervals) == len(model)
    assert numbers(list(intervals)) == model
    assert [number in intervals for number in range(80)] == [number in model for number in range(80)]


@given(ranges)
def test_ranges_are_sorted_and_never_touch(parts: list[tuple[int, int]]) -> None:
    kept = list(Intervals(parts))
    assert all(start < stop for start, stop in kept)
    assert all(left[1] < right[0] for left, right in pairwise(kept))


@given(ranges, ranges)
def test_difference_and_intersection(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    a, b = Intervals(left), Intervals(right)
    assert numbers(list(a.minus(b))) == numbers(left) - numbers(right)
    assert numbers(list(a.both(b))) == numbers(left) & numbers(right)
    assert a.update(b) == len(numbers(right) - numbers(left))


@given(ranges)
def test_data_for_json_is_the_same_set(parts: list[tuple[int, int]]) -> None:
    intervals = Intervals(parts)
    assert Intervals((start, stop) for start, stop in intervals.plain()) == intervals


def test_a_million_numbers_in_order_are_one_range() -> None:
    intervals = Intervals()
    for number in range(1_000_000):
        intervals.add(number)
    assert list(intervals) == [(0, 1_000_000)]
    assert intervals.gaps == 0
