"""Deadlines."""

from mqproof.harness.reference.mqtt.timers import TIDY_FROM, Timers


def test_fires_in_order_once_and_not_before():
    timers, fired = Timers(), []
    timers.at(2, lambda: fired.append("b"))
    timers.at(1, lambda: fired.append("a"))
    timers.at(2, lambda: fired.append("c"))
    timers.at(3, lambda: fired.append("d"))
    assert timers.next_due() == 1
    timers.run(0.9)
    assert fired == []
    timers.run(2)
    timers.run(2)
    assert fired == ["a", "b", "c"]


def test_cancelled_timers_neither_fire_nor_wake():
    timers, fired = Timers(), []
    first = timers.at(1, lambda: fired.append("a"))
    timers.at(2, lambda: fired.append("b"))
    first.cancel()
    assert timers.next_due() == 2
    timers.run(5)
    assert fired == ["b"]
    assert timers.next_due() is None


def test_action_may_set_a_timer_that_is_due_at_once():
    timers, fired = Timers(), []
    timers.at(1, lambda: timers.at(1, lambda: fired.append("again")))
    timers.run(1)
    assert fired == ["again"]


def test_cancelled_timers_are_not_kept_for_ever(world):
    """A client that comes and goes with a session of a century."""
    for _ in range(1000):
        world.client("s", properties=(("session_expiry_interval", 3_000_000_000),), keep_alive=60000).cut()
    assert len(world.broker.timers) <= TIDY_FROM


def test_time_to_connect_begins_with_the_connection_however_long_the_broker_had_nothing_to_do(world, version):
    world.advance(3600)
    talker = world.talker(version)
    world.advance(world.broker.limits.connect_timeout / 2)
    assert not talker.closed
    world.advance(world.broker.limits.connect_timeout)
    assert talker.closed
