"""What a broker counts of itself, as far as it decides whom a loss accuses."""

import gevent
from mqproof.harness.ledger import LIMIT, UNEXPLAINED, Ledger
from mqproof.harness.targets.target import parse_url
from mqproof.loadtests.counters import SysTopics
from mqproof.loadtests.watching import Watch

TARGET = parse_url("mqtt://localhost")
LOST = 100


def watching(before: float) -> tuple[Watch, SysTopics]:
    """Return a watch of a broker that had dropped so many before the stage, and its counters."""
    watch, counters = Watch(TARGET), SysTopics(TARGET)
    counters.values["dropped"] = before
    watch._sys = counters
    watch.before_open()
    return watch, counters


def ledger_that_misses(count: int) -> Ledger:
    ledger = Ledger()
    ledger.publish(1, 0, count)
    return ledger


def test_a_count_of_mid_run_does_not_leave_the_rest_of_the_drops_to_blame() -> None:
    watch, counters = watching(before=7)
    counters.values["dropped"] = 7 + LOST // 3  # told while messages were still being dropped

    def next_round() -> None:
        counters.values["dropped"] = 7 + LOST
        counters.rounds += 1

    gevent.spawn(next_round)
    ledger = ledger_that_misses(LOST)
    ledger.dropped_by_broker += watch.dropped(ledger)
    assert ledger.findings().lost_by_cause == {LIMIT: LOST}


def test_what_the_broker_does_not_count_as_dropped_stays_unexplained() -> None:
    watch, counters = watching(before=7)

    def next_round() -> None:
        counters.rounds += 1  # nothing has been dropped since: the counter is not told again

    gevent.spawn(next_round)
    ledger = ledger_that_misses(LOST)
    ledger.dropped_by_broker += watch.dropped(ledger)
    found = ledger.findings()
    assert found.lost_by_cause == {UNEXPLAINED: LOST}
    assert found.examples == ("publisher 1, message 0 to 99",)


def test_drops_from_before_the_run_explain_nothing() -> None:
    watch, counters = watching(before=10 * LOST)
    gevent.spawn(lambda: setattr(counters, "rounds", 1))
    assert watch.dropped(ledger_that_misses(LOST)) == 0
