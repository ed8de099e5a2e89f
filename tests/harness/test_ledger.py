"""The ledger against a naive model that keeps every message in lists, and against streams with known defects."""

import json
import random
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mqproof.harness.ledger import UNEXPLAINED, Findings, Ledger

MILLION = 1_000_000


@dataclass(frozen=True)
class Arrival:
    publisher: int
    number: int
    route: str = ""
    path: str = ""
    redelivered: bool = False


publishers, sequence = st.integers(1, 3), st.integers(0, 12)
sendings = st.lists(st.tuples(publishers, sequence), max_size=30)
arriving = st.lists(
    st.builds(Arrival, publishers, sequence, st.sampled_from(["", "a"]), st.sampled_from(["x", "y"]), st.booleans()),
    max_size=30,
)


def books(sent: list[tuple[int, int]], confirmed: list[tuple[int, int]], arrivals: list[Arrival]) -> Ledger:
    ledger = Ledger()
    for publisher, number in sent:
        ledger.publish(publisher, number)
    for publisher, number in confirmed:
        ledger.confirm(publisher, number)
    for arrival in arrivals:
        ledger.deliver(
            arrival.publisher, arrival.number, route=arrival.route, path=arrival.path, redelivered=arrival.redelivered
        )
    return ledger


def late(arrivals: list[Arrival]) -> list[int]:
    """Return by how much each arrival is late that is neither flagged nor a repeat; by looking at all before it."""
    distances = []
    for index, arrival in enumerate(arrivals):
        before = arrivals[:index]
        same = [a for a in before if (a.publisher, a.route) == (arrival.publisher, arrival.route)]
        own = [a.number for a in same if a.path == arrival.path]
        repeat = arrival.number in [a.number for a in same]
        if not repeat and not arrival.redelivered and own and max(own) > arrival.number:
            distances.append(max(own) - arrival.number)
    return distances


@given(sendings, sendings, arriving)
def test_findings_are_those_of_the_naive_model(
    sent: list[tuple[int, int]], confirmed: list[tuple[int, int]], arrivals: list[Arrival]
) -> None:
    found = books(sent, confirmed, arrivals).findings()
    copies = Counter((a.route, a.publisher, a.number) for a in arrivals)
    meant = {("", *message) for message in sent}
    distances = late(arrivals)
    with_confirms = {publisher for publisher, _ in confirmed}
    assert found.published == len(set(sent))
    assert found.delivered == len(meant & copies.keys())
    assert found.lost == len(meant - copies.keys())
    assert found.lost == found.lost_by_cause.get(UNEXPLAINED, 0)
    assert found.confirmed_lost == len((meant - copies.keys()) & {("", *message) for message in confirmed})
    assert found.duplicated == sum(copies.values()) - len(copies)
    assert found.unexpected == len(copies.keys() - meant)
    assert found.reordered == len(distances)
    assert found.reordered_by == max(distances, default=0)
    assert found.redelivered == sum(a.redelivered for a in arrivals)
    assert found.unconfirmed_delivered == len(
        {m for m in meant & copies.keys() if m[1] in with_confirms} - {("", *message) for message in confirmed}
    )


@given(sendings, arriving, st.randoms(use_true_random=False))
def test_ledgers_of_workers_merge_to_the_ledger_of_one(
    sent: list[tuple[int, int]], arrivals: list[Arrival], chance: random.Random
) -> None:
    """Each path is one worker's; a worker that publishes need not be the one that receives."""
    whole = books(sent, sent[::2], arrivals).findings()
    by_path = {path: [a for a in arrivals if a.path == path] for path in ("x", "y")}
    parts = [books(sent[:5], [], by_path["y"]), books(sent[5:], sent[::2], []), books([], [], by_path["x"])]
    chance.shuffle(parts)
    merged = Ledger()
    for part in parts:
        merged.merge(Ledger.from_plain(json.loads(json.dumps(part.plain()))))
    result = merged.findings()
    for name in Findings.__dataclass_fields__.keys() - {"reordered", "reordered_by", "examples"}:
        assert getattr(result, name) == getattr(whole, name), name
    assert result.reordered == sum(len(late(part)) for part in by_path.values())


def test_nothing_is_found_in_a_clean_stream_of_a_million() -> None:
    ledger = Ledger()
    ledger.publish(1, 0, MILLION)
    ledger.confirm(1, 0, MILLION)
    for number in range(MILLION):
        ledger.deliver(1, number)
    found = ledger.findings()
    assert (found.published, found.confirmed, found.delivered) == (MILLION, MILLION, MILLION)
    assert (found.lost, found.duplicated, found.reordered, found.corrupted, found.unexpected) == (0, 0, 0, 0, 0)
    assert found.lost_by_cause == {}
    assert len(json.dumps(ledger.plain())) < 300


def stream(count: int = 1000) -> Ledger:
    ledger = Ledger()
    ledger.publish(7, 0, count)
    return ledger


def test_each_defect_is_found_and_nothing_else() -> None:
    ledger = stream()
    numbers = [number for number in range(1000) if number not in (10, 11, 500)]
    numbers.insert(600, numbers[599])  # one arrives twice
    numbers.insert(20, numbers.pop(30))  # one comes ten places early, so that ten are late
    for number in numbers:
        ledger.deliver(7, number, intact=number != 800)
    ledger.deliver(7, 5000)
    ledger.deliver(9, 1)
    ledger.note_strange(foreign=1)
    found = ledger.findings()
    assert found.lost == 3
    assert found.examples == ("publisher 7, message 10 to 11", "publisher 7, message 500")
    assert found.duplicated == 1
    assert (found.reordered, found.reordered_by) == (10, 10)
    assert found.corrupted == 1
    assert found.unexpected == 3


def test_a_redelivered_message_is_no_reordering() -> None:
    ledger = stream(3)
    for number, redelivered in ((1, False), (2, False), (0, True)):
        ledger.deliver(7, number, redelivered=redelivered)
    assert ledger.findings().reordered == 0


def test_competing_consumers_share_the_numbers_and_keep_their_own_order() -> None:
    ledger = stream(6)
    for number, path in ((1, "b"), (0, "a"), (3, "b"), (2, "a"), (5, "b"), (4, "a")):
        ledger.deliver(7, number, path=path)
    found = ledger.findings()
    assert (found.lost, found.duplicated, found.reordered) == (0, 0, 0)


def test_every_route_owes_its_own_copy() -> None:
    ledger = stream(10)
    ledger.expect(7, "first", "second")
    ledger.deliver_range(7, 0, 10, route="first")
    ledger.deliver_range(7, 0, 8, route="second")
    ledger.deliver(7, 3, route="third")
    found = ledger.findings()
    assert (found.delivered, found.lost, found.unexpected) == (18, 2, 1)


def test_a_cause_that_is_known_does_not_accuse_the_broker() -> None:
    ledger = stream(10)
    ledger.excuse("subscription not yet active", 7, 0, 3)
    ledger.excuse("worker of ours died", 7, 2, 5)
    ledger.deliver_range(7, 4, 9)
    assert ledger.findings().lost_by_cause == {
        "subscription not yet active": 3, "worker of ours died": 1, UNEXPLAINED: 1,
    }  # fmt: skip


def test_refused_messages_are_not_lost_and_confirmed_ones_are_owed() -> None:
    ledger = stream(10)
    ledger.confirm(7, 0, 5)
    ledger.refuse(7, 5, 7)
    ledger.deliver_range(7, 1, 5)
    ledger.deliver_range(7, 7, 9)
    found = ledger.findings()
    assert (found.lost, found.confirmed_lost, found.refused, found.unconfirmed_delivered) == (2, 1, 2, 2)


@pytest.mark.parametrize("lost", [1, 100])
def test_memory_is_bounded_by_the_gaps(lost: int) -> None:
    ledger = stream(100_000)
    step = 100_000 // lost
    for number in range(100_000):
        if number % step:
            ledger.deliver(7, number)
    assert ledger.arrivals["", 7].seen.gaps == lost - 1
    assert ledger.findings().lost == lost
