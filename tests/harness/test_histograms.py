"""Latencies: percentiles within three digits, exact merging, and what is out of range."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from mqproof.harness.histograms import HIGHEST_US, Latencies

samples = st.lists(st.integers(1, HIGHEST_US), min_size=1, max_size=200)


def recorded(values: list[int]) -> Latencies:
    latencies = Latencies()
    latencies.record_all((value, 1) for value in values)
    return latencies


@settings(deadline=None, max_examples=12)
@given(samples)
def test_percentiles_are_right_to_three_digits(values: list[int]) -> None:
    ordered = sorted(values)
    latencies = recorded(values)
    for name, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0)):
        exact = ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]
        assert abs((latencies.summary()[name] or 0) - exact) <= max(1, exact / 1000), name
    assert sum(count for _, count in latencies.distribution()) == len(values)


@settings(deadline=None, max_examples=12)
@given(samples, samples)
def test_merged_after_a_journey_is_as_recorded_in_one(left: list[int], right: list[int]) -> None:
    merged = Latencies()
    for part in (left, right):
        merged.merge(Latencies.from_plain(json.loads(json.dumps(recorded(part).plain()))))
    assert merged.distribution() == recorded(left + right).distribution()
    assert merged.summary() == recorded(left + right).summary()


def test_nothing_measured_has_no_percentiles() -> None:
    empty = Latencies.from_plain(Latencies().plain())
    empty.merge(Latencies())
    assert empty.count == 0
    assert set(empty.summary().values()) == {None}


def test_a_clock_that_runs_backwards_is_shown() -> None:
    latencies = Latencies()
    latencies.record(-5)
    latencies.record(2 * HIGHEST_US)
    assert latencies.negative == 1
    assert latencies.count == 2
    assert HIGHEST_US * 0.999 <= (latencies.at(100) or 0) <= HIGHEST_US * 1.001
