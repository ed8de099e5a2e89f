"""Each disturbance of AMQP messages, as an application meets it; settling stays right on both sides."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pika.exceptions
import pytest
from mqproof.harness.chaos.saboteur import Saboteur
from mqproof.harness.chaos.scenario import Plan, Scenario
from mqproof.harness.proxy.core import Link
from mqproof.harness.targets.target import Target

Channel = Any
COMES_WITHIN = 30  # seconds


@contextmanager
def channel_of(url: str, *, confirm: bool = False) -> Iterator[Channel]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        channel = connection.channel()
        if confirm:
            channel.confirm_delivery()
        yield channel
    finally:
        if connection.is_open:
            connection.close()


@pytest.fixture
def queue(amqp_target: Target, request: pytest.FixtureRequest) -> Iterator[str]:
    name = re.sub(r"\W", "-", request.node.name)
    with channel_of(amqp_target.url) as channel:
        channel.queue_declare(name)
    yield name
    with channel_of(amqp_target.url) as channel:
        channel.queue_delete(name)


def fill(target: Target, queue: str, count: int) -> None:
    with channel_of(target.url, confirm=True) as channel:
        for number in range(count):
            channel.basic_publish("", queue, b"m%d" % number)


def take(channel: Channel, queue: str, count: int, *, ack: str = "each") -> list[tuple[bytes, bool]]:
    """Consume so many messages; what a round trip brings beyond them is taken, too."""
    taken: list[tuple[bytes, bool]] = []
    for method, _, body in channel.consume(queue, inactivity_timeout=COMES_WITHIN):
        assert method is not None, f"only {taken} came"
        taken.append((body, method.redelivered))
        if ack == "each":
            channel.basic_ack(method.delivery_tag)
        if len(taken) >= count:
            channel.basic_qos(prefetch_count=0)
            if not channel.get_waiting_message_count():
                break
    if ack == "all":
        channel.basic_ack(method.delivery_tag, multiple=True)
    channel.cancel()
    return taken


def left(target: Target, queue: str) -> int:
    with channel_of(target.url) as channel:
        return int(channel.queue_declare(queue, passive=True).method.message_count)


def plays(name: str, **more: Any) -> Scenario:
    return Scenario((Plan(name, **more),))


@pytest.mark.parametrize("ack", ["each", "all"])
def test_a_copy_is_delivered_redelivered_and_both_can_be_settled(
    amqp_target: Target, queue: str, stand: Any, ack: str
) -> None:
    fill(amqp_target, queue, 3)
    with channel_of(stand(amqp_target, plays("duplicate-delivery")).url) as channel:
        taken = take(channel, queue, 6, ack=ack)
    assert taken == [(b"m%d" % number, again) for number in range(3) for again in (False, True)]
    assert left(amqp_target, queue) == 0


def test_a_lost_delivery_is_neither_delivered_nor_left(amqp_target: Target, queue: str, stand: Any) -> None:
    fill(amqp_target, queue, 3)
    saboteur = stand(amqp_target, plays("lost-delivery"))
    with channel_of(saboteur.url) as channel:
        coming = channel.consume(queue, inactivity_timeout=0.05)
        while len(saboteur.events) < 3:
            assert next(coming)[0] is None
        channel.basic_qos(prefetch_count=0)
        assert channel.get_waiting_message_count() == 0
        channel.cancel()
    assert left(amqp_target, queue) == 0


def test_a_reordered_delivery_comes_behind_the_next_one(amqp_target: Target, queue: str, stand: Any) -> None:
    fill(amqp_target, queue, 4)
    saboteur = stand(amqp_target)
    with channel_of(saboteur.url) as channel:
        with saboteur.fault("reordered-delivery", probability=0.5, delay=COMES_WITHIN):
            taken = [body for body, _ in take(channel, queue, 4)]
    reordered = [event.number for event in saboteur.events]
    assert sorted(taken) == [b"m0", b"m1", b"m2", b"m3"]
    assert (taken == [b"m0", b"m1", b"m2", b"m3"]) == (not reordered)
    assert reordered
    assert left(amqp_target, queue) == 0


def test_a_delayed_delivery_is_overtaken(
    amqp_target: Target, queue: str, stand: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(amqp_target, queue, 1)
    saboteur, overtaken, after = stand(amqp_target), threading.Event(), Link.after

    def after_that(link: Link, seconds: float, action: Callable[[], None]) -> None:
        """The delay lasts as long as was asked, and until the other message has come."""
        after(link, seconds, lambda: action() if overtaken.is_set() else after_that(link, 0.01, action))

    monkeypatch.setattr(Link, "after", after_that)
    with channel_of(saboteur.url) as channel:
        slow = saboteur.fault("delayed-delivery", delay="50ms")
        coming = channel.consume(queue, inactivity_timeout=0.05)
        while not slow.count:
            assert next(coming)[0] is None
        slow.stop()
        with channel_of(amqp_target.url) as other:
            other.basic_publish("", queue, b"overtakes")
        assert next(body for method, _, body in coming if method) == b"overtakes"
        overtaken.set()
        assert next(body for method, _, body in coming if method) == b"m0"
        channel.basic_ack(0, multiple=True)
        channel.cancel()
    assert left(amqp_target, queue) == 0


def test_a_body_is_changed_in_its_last_octet(amqp_target: Target, queue: str, stand: Any) -> None:
    fill(amqp_target, queue, 1)
    with channel_of(stand(amqp_target, plays("changed-body")).url) as channel:
        assert [body for body, _ in take(channel, queue, 1)] == [b"m1"]


@pytest.mark.parametrize("ack", ["each", "all"])
def test_a_lost_ack_lets_the_message_come_back(amqp_target: Target, queue: str, stand: Any, ack: str) -> None:
    fill(amqp_target, queue, 3)
    with channel_of(stand(amqp_target, plays("lost-ack")).url) as channel:
        take(channel, queue, 3, ack=ack)
    assert left(amqp_target, queue) == 3


def test_a_lost_publish_is_confirmed_and_in_no_queue(amqp_target: Target, queue: str, stand: Any) -> None:
    fill(stand(amqp_target, plays("lost-publish")).target, queue, 3)
    assert left(amqp_target, queue) == 0


def test_later_confirms_count_right_after_a_lost_publish(amqp_target: Target, queue: str, stand: Any) -> None:
    saboteur: Saboteur = stand(amqp_target)
    with channel_of(saboteur.url, confirm=True) as channel:
        with saboteur.fault("lost-publish"):
            channel.basic_publish("", queue, b"lost")
        channel.basic_publish("", queue, b"there")  # returns only when its own number is confirmed
    assert left(amqp_target, queue) == 1


def test_a_publish_reaches_the_broker_twice_and_is_confirmed_once(
    amqp_target: Target, queue: str, stand: Any
) -> None:
    fill(stand(amqp_target, plays("duplicate-publish")).target, queue, 3)
    assert left(amqp_target, queue) == 6


def test_a_refused_publish_is_nacked(amqp_target: Target, queue: str, stand: Any) -> None:
    with channel_of(stand(amqp_target, plays("refused-publish")).url, confirm=True) as channel:
        with pytest.raises(pika.exceptions.NackError):
            channel.basic_publish("", queue, b"no")
    assert left(amqp_target, queue) == 0


@pytest.mark.parametrize(("name", "count"), [("cut-on-publish", 1)])
def test_the_connection_is_cut_when_the_broker_has_the_message(
    amqp_target: Target, queue: str, stand: Any, name: str, count: int
) -> None:
    with channel_of(stand(amqp_target, plays(name)).url, confirm=True) as channel:
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            channel.basic_publish("", queue, b"was it there?")
    assert left(amqp_target, queue) == count


def test_a_lost_confirm_leaves_the_publisher_waiting(amqp_target: Target, queue: str, stand: Any) -> None:
    saboteur = stand(amqp_target, plays("lost-confirm", only={"key": "nobody"}))
    with channel_of(saboteur.url, confirm=True) as channel:
        channel.basic_publish("", queue, b"confirmed")
        saboteur.fault("lost-confirm", only=f"queue={queue}")
        saboteur.fault("reset", delay=0.2)  # ends the wait
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            channel.basic_publish("", queue, b"unconfirmed")
    assert left(amqp_target, queue) == 2


def test_only_the_queue_that_was_named_meets_the_fault(amqp_target: Target, queue: str, stand: Any) -> None:
    fill(amqp_target, queue, 2)
    saboteur = stand(amqp_target, plays("lost-delivery", only={"queue": "another"}))
    with channel_of(saboteur.url) as channel:
        assert len(take(channel, queue, 2)) == 2
    assert saboteur.events == []


def test_a_fault_of_brokers_acts_by_chance(amqp_target: Target, queue: str, stand: Any) -> None:
    bodies = [b"%d" % number * 5000 for number in range(20)]
    with channel_of(amqp_target.url, confirm=True) as channel:
        for body in bodies:
            channel.basic_publish("", queue, body)
    saboteur = stand(amqp_target, plays("last-octet-changed", probability=0.5))
    with channel_of(saboteur.url) as channel:
        taken = [body for body, _ in take(channel, queue, 20)]
    changed = sum(one != other for one, other in zip(bodies, taken, strict=True))
    assert 0 < changed < 20
    assert changed == len(saboteur.events)
