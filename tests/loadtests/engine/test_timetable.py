"""The timetable: when each message is due, whatever happens to the ones before it."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from mqproof.loadtests.engine.timetable import Timetable

SECOND = 10**9
phase = st.tuples(st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0, 10, 50, 400]))
phases = st.lists(phase, min_size=1, max_size=4)


@given(phases, st.integers(1, 4), st.lists(st.integers(1, SECOND), max_size=60))
def test_all_is_due_at_the_end_and_nothing_before_its_time(
    plan: list[tuple[float, float]], share: int, pauses: list[int]
) -> None:
    table, sent, now, last = Timetable(plan, share, 0), 0, 0, 0
    for pause in [*pauses, 10 * SECOND]:
        now += pause
        while True:
            count, intended, step = table.due(sent, now)
            if not count:
                break
            assert last <= intended
            assert intended + (count - 1) * step <= now + 1
            last = intended
            sent += count
    assert sent == table.count
    assert table.next_moment(sent) is None
    assert abs(table.count - sum(seconds * rate for seconds, rate in plan) / share) <= len(plan)


def test_a_late_sender_finds_the_times_that_were_intended() -> None:
    """No coordinated omission: what waits for a stalled broker keeps its moment."""
    table = Timetable([(10.0, 100.0)], 1, 5 * SECOND)
    assert table.due(0, 5 * SECOND) == (1, 5 * SECOND, SECOND / 100)
    count, intended, step = table.due(1, 7 * SECOND)
    assert (count, intended, step) == (200, 5 * SECOND + SECOND // 100, SECOND / 100)


@given(phases, st.integers(1, 40))
def test_publishers_take_turns_at_the_rate_of_all(plan: list[tuple[float, float]], share: int) -> None:
    """One slower than a message per run has its turn as well, and no two speak at once."""
    tables = [Timetable(plan, share, 0, index) for index in range(share)]
    moments = sorted(
        (moment, index)
        for index, table in enumerate(tables)
        for number in range(table.count)
        if (moment := table.next_moment(number)) is not None
    )
    assert len(moments) == sum(seconds * rate for seconds, rate in plan)
    assert [index for _, index in moments] == [number % share for number in range(len(moments))]
    fastest = max((rate for _, rate in plan), default=0)
    between = [later - sooner for (sooner, _), (later, _) in itertools.pairwise(moments)]
    assert all(each >= SECOND // fastest - 2 for each in between)


def test_rare_messages_of_many_are_spread_over_the_run() -> None:
    """A hundred publishers, ten messages in ten seconds: one each second, each by another one."""
    tables = [Timetable([(10.0, 1.0)], 100, 0, index) for index in range(100)]
    assert [table.count for table in tables] == [1] * 10 + [0] * 90
    assert [table.next_moment(0) for table in tables[:10]] == [second * SECOND for second in range(10)]


def test_a_ramp_of_fractions_loses_nothing() -> None:
    """Stairs of less than a message each add up."""
    table = Timetable([(0.1, 2.5)] * 40, 1, 0)
    assert table.count == 10
