"""The timetable: when each message is due, whatever happens to the ones before it."""

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
