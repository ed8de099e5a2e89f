"""The fast lane books what the ledger would book one by one."""

import random
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mqproof.harness.histograms import Latencies
from mqproof.harness.ledger import Findings, Ledger
from mqproof.loadtests.engine import tracker
from mqproof.loadtests.engine.kernels import INTACT, REPEAT, STRANGE
from mqproof.loadtests.engine.tracker import Tracker, bucket, value_of

NOW = 10**12
Arrival = tuple[int, int, int, bool]  # publisher, number, path, redelivered
far = st.one_of(st.integers(0, 12), st.integers(250, 270), st.integers(900, 905))
arrivals = st.lists(st.tuples(st.integers(0, 2), far, st.integers(0, 1), st.booleans()), max_size=40)


def small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracker, "MOST_MARKS", 1)


def tracked(arriving: list[Arrival], batch: int) -> tuple[Findings, Latencies]:
    ledger, latencies = published(), Latencies()
    lane = Tracker(ledger, "", 3, 2)
    for start in range(0, len(arriving), batch):
        for publisher, number, path, redelivered in arriving[start : start + batch]:
            row = np.array([[publisher, number, NOW - 5_000_000, INTACT | (REPEAT if redelivered else 0)]], np.int64)
            lane.arrive(row, 1, NOW, path)
    lane.close(latencies)
    return ledger.findings(), latencies


def published() -> Ledger:
    ledger = Ledger()
    for publisher in range(2):
        ledger.publish(publisher, 0, 260)
    return ledger


def one_by_one(arriving: list[Arrival]) -> Findings:
    ledger = published()
    for publisher, number, path, redelivered in arriving:
        ledger.deliver(publisher, number, path=str(path), redelivered=redelivered)
    return ledger.findings()


@settings(deadline=None, max_examples=300)
@given(arrivals)
def test_the_fast_lane_finds_what_the_ledger_finds(arriving: list[Arrival]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        small_window(patch)
        found, latencies = tracked(arriving, 7)
    assert asdict(found) == asdict(one_by_one(arriving))
    assert latencies.count == len({arrival[:2] for arrival in arriving})


def test_a_million_in_batches_with_a_few_defects() -> None:
    chance = random.Random(5)
    numbers = [number for number in range(1_000_000) if number not in (17, 500_000)]
    numbers[1000:1000] = [999, 999]
    for index in chance.sample(range(2000, 900_000), 20):
        numbers[index], numbers[index + 1] = numbers[index + 1], numbers[index]
    ledger = Ledger()
    ledger.publish(0, 0, 1_000_000)
    lane = Tracker(ledger, "", 1, 1)
    rows = np.zeros((len(numbers), 4), np.int64)
    rows[:, 1], rows[:, 2], rows[:, 3] = numbers, NOW - 1_000_000, INTACT
    rows[123, 3] = STRANGE
    for start in range(0, len(rows), 5000):
        batch = rows[start : start + 5000]
        lane.arrive(batch, len(batch), NOW, 0)
    latencies = Latencies()
    lane.close(latencies)
    found = ledger.findings()
    assert (found.lost, found.duplicated, found.corrupted, found.unexpected) == (3, 2, 1, 0)
    assert found.reordered == 20
    assert latencies.count == found.delivered == 999_997
    assert 1000 <= (latencies.at(50) or 0) <= 1001


@settings(deadline=None)
@given(st.integers(1, tracker.LAST_BUCKET))
def test_buckets_keep_three_digits(value: int) -> None:
    highest = value_of(bucket(value))
    assert value <= highest <= value * 1.001 + 1
    assert bucket(highest) == bucket(value)
