"""Clients that break each rule, on the wire before the embedded broker, are accused of it; a good one is not."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from mqproof.dissectors.amqp.codec import ContentHeader, Heartbeat, Method, RawFrame, encode, method
from mqproof.harness.clienttest.amqp_statements import UNSEEN
from mqproof.harness.clienttest.conversation import Conversation, Ended, Listening
from mqproof.harness.clienttest.opinions import Opinion
from mqproof.harness.clienttest.running import judge
from mqproof.harness.clienttest.situations import AMQP, Situation
from mqproof.harness.proxy.core import Link, Passage, ProxyLoop
from mqproof.harness.reference.amqp.server import start_in_thread
from mqproof.harness.statements.registry import statements
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Verdict
from mqproof.harness.wires.amqp import AmqpWire
from mqproof.harness.wires.amqp_verbs import Things

FOREIGN = next(each for each in AMQP if each.name == "unknown version")
Case = Callable[[Callable[[], AmqpWire]], object]


@contextmanager
def closing_broker() -> Iterator[Any]:
    broker = start_in_thread()
    try:
        yield broker
    finally:
        broker.stop()


def opinions(case: Case, situation: Situation = AMQP[0]) -> dict[str, Opinion]:
    heard: list[Conversation] = []
    memory: dict[str, Any] = {}

    def listen(link: Link) -> Passage:
        heard.append(Conversation(situation=situation.name))
        meddle = situation.meddle
        return Listening(
            link, "amqp", heard[-1],
            None if meddle is None else lambda passage, side, item: meddle(memory, passage, side, item),
        )  # fmt: skip

    with closing_broker() as broker, ProxyLoop() as loop:
        target = Target("judge", "amqp", "127.0.0.1", broker.port, "guest", "guest")
        proxy = loop.proxy(target, listen)
        things = Things(lambda kind: f"made-{kind}")
        made: list[AmqpWire] = []

        def wire() -> AmqpWire:
            made.append(AmqpWire(proxy.target, things))
            return made[-1]

        case(wire)
        for each in made:
            each.cut()
    return {each.statement.id: each for each in judge("amqp", heard)}


def refused(name: str, before: Callable[[AmqpWire], object] | None = None, **arguments: Any) -> Case:
    """A client that asks for something in vain."""

    def case(wires: Callable[[], AmqpWire]) -> None:
        wire = wires().open()
        if before:
            before(wire)
        wire.send(name, **arguments)
        wire.expect("channel.close", "connection.close")

    return case


def sends(*frames: Any, before: Callable[[AmqpWire], object] | None = None) -> Case:
    def case(wires: Callable[[], AmqpWire]) -> None:
        wire = wires().open()
        if before:
            before(wire)
        wire.send(*frames)
        wire.expect("channel.close", "connection.close")

    return case


def queue(wire: AmqpWire) -> None:
    wire.call("queue.declare", queue="q")


def exchange(wire: AmqpWire) -> None:
    wire.call("exchange.declare", exchange="e", type="direct")


def both(wire: AmqpWire) -> None:
    queue(wire)
    exchange(wire)
    wire.call("queue.bind", queue="q", exchange="e", routing_key="k")


def consumed(wire: AmqpWire) -> None:
    queue(wire)
    wire.call("basic.consume", queue="q", consumer_tag="tag")


def filled(wire: AmqpWire) -> None:
    queue(wire)
    wire.send_content("", "q")
    wire.call("basic.get", queue="q")
    wire.send("basic.reject", delivery_tag=1, requeue=True)


def foreign_tag(wires: Callable[[], AmqpWire]) -> None:
    wire = wires().open()
    queue(wire)
    wire.send_content("", "q")
    wire.call("basic.get", queue="q")
    wire.open_channel(2)
    wire.send("basic.ack", channel=2, delivery_tag=1)
    wire.expect("channel.close", channel=2)


def foreign_consumer(wires: Callable[[], AmqpWire]) -> None:
    wire = wires().open()
    consumed(wire)
    wire.open_channel(2)
    wire.send("basic.cancel", channel=2, consumer_tag="tag")
    wire.expect("connection.close", "channel.close")


def locked(wires: Callable[[], AmqpWire]) -> None:
    owner = wires().open()
    owner.call("queue.declare", queue="mine", exclusive=True)
    refused("queue.delete", queue="mine")(wires)


def in_exclusive_use(wires: Callable[[], AmqpWire]) -> None:
    consumed(wires().open())
    refused("basic.consume", queue="q", exclusive=True)(wires)


def goes_on(wires: Callable[[], AmqpWire]) -> None:
    """A client that answers an unknown version as if it were 0-9-1."""
    wire = wires()
    wire.send_octets(b"AMQP\0\0\x09\1")
    wire.expect("connection.start")
    wire.send(method("connection.start-ok", 0, mechanism="PLAIN", response=b"\0guest\0guest", locale="en_US"))
    wire.expect("connection.tune", channel=0)


def leaves_it(wires: Callable[[], AmqpWire]) -> None:
    wire = wires()
    wire.send_octets(b"AMQP\0\0\x09\1")
    wire.expect("connection.start")


def bad_end(wires: Callable[[], AmqpWire]) -> None:
    wire = wires().open()
    wire.send(RawFrame(8, 0, b"", end=0))
    with pytest.raises(Blocked):  # the socket closes without a word
        wire.expect("connection.close")


def hung_up(wires: Callable[[], AmqpWire]) -> None:
    wires().open()


BROKEN: list[tuple[str, Case]] = [
    ("domain.delivery-tag/channel-local", foreign_tag),
    ("connection.start-ok.client-properties/required-fields", hung_up),
    ("channel.open/state", refused("channel.open")),
    ("exchange.declare.exchange/syntax", refused("exchange.declare", exchange="no spaces", type="direct")),
    ("exchange.declare.type/typed", refused("exchange.declare", exchange, exchange="e", type="topic")),
    ("exchange.declare.type/support", refused("exchange.declare", exchange="e", type="x-unknown")),
    ("exchange.delete.exchange/exists", refused("exchange.delete", exchange="none")),
    ("exchange.delete.if-unused/in-use", refused("exchange.delete", both, exchange="e", if_unused=True)),
    (
        "exchange.bind.destination/exchange-existence",
        refused("exchange.bind", exchange, source="e", destination="none"),
    ),
    ("exchange.bind.source/exchange-existence", refused("exchange.bind", exchange, source="none", destination="e")),
    ("exchange.unbind.destination/must-exist", refused("exchange.unbind", exchange, source="e", destination="none")),
    ("exchange.unbind.source/must-exist", refused("exchange.unbind", exchange, source="none", destination="e")),
    ("queue.declare.queue/syntax", refused("queue.declare", queue="no spaces")),
    ("queue.declare.exclusive/exclusive", locked),
    ("queue.bind.queue/queue-known", refused("queue.bind", exchange="amq.topic")),
    ("queue.bind.queue/must-exist", refused("queue.bind", queue="none", exchange="amq.topic")),
    ("queue.bind.exchange/exchange-existence", refused("queue.bind", queue, queue="q", exchange="none")),
    ("queue.unbind.queue/queue-known", refused("queue.unbind", exchange="amq.topic")),
    ("queue.unbind.queue/must-exist", refused("queue.unbind", queue="none", exchange="amq.topic")),
    ("queue.unbind.exchange/must-exist", refused("queue.unbind", queue, queue="q", exchange="none")),
    ("queue.purge.queue/queue-known", refused("queue.purge")),
    ("queue.purge.queue/must-exist", refused("queue.purge", queue="none")),
    ("queue.delete.queue/queue-known", refused("queue.delete")),
    ("queue.delete.queue/must-exist", refused("queue.delete", queue="none")),
    ("queue.delete.if-unused/in-use", refused("queue.delete", consumed, queue="q", if_unused=True)),
    ("queue.delete.if-empty/not-empty", refused("queue.delete", filled, queue="q", if_empty=True)),
    ("basic.consume.consumer-tag/01", refused("basic.consume", consumed, queue="q", consumer_tag="tag")),
    ("basic.consume.consumer-tag/02", foreign_consumer),
    ("basic.consume.exclusive/01", in_exclusive_use),
    (
        "basic.publish.exchange/must-exist",
        sends(method("basic.publish", exchange="none"), ContentHeader(1, 60, 0)),
    ),
    ("tx.commit/transacted", refused("tx.commit")),
    ("tx.rollback/transacted", refused("tx.rollback")),
    ("2.3.7/close-handshake", hung_up),
    ("4.2.3/channel-zero", sends(method("queue.declare", 0))),
    ("4.2.3/frame-end", bad_end),
    ("4.2.7/heartbeat-channel-zero", sends(Heartbeat(1))),
    ("3.1.10/x-prefix", refused("exchange.declare", exchange="e", type="own")),
]


ALONGSIDE = {  # what the made-up clients of this file also break
    "2.3.7/close-handshake",
    "connection.start-ok.client-properties/required-fields",
    "exchange.declare.type/support",
}


@pytest.mark.parametrize(("key", "case"), [pytest.param(*each, id=each[0]) for each in BROKEN])
def test_a_client_that_breaks_a_rule_is_accused_of_it(key: str, case: Case) -> None:
    found = opinions(case)
    assert found[key].verdict is Verdict.DEVIATES, {name: each.breaches for name, each in found.items()}
    others = {name for name, each in found.items() if each.breaches} - {key}
    assert others <= ALONGSIDE


def test_a_version_that_nobody_speaks_is_left_alone_by_a_good_client() -> None:
    key = "connection.start/client-support"
    assert opinions(goes_on, FOREIGN)[key].verdict is Verdict.DEVIATES
    assert opinions(leaves_it, FOREIGN)[key].verdict is Verdict.CONFORMS


def made_up(*events: tuple[float, str, Any]) -> dict[str, Opinion]:
    conversation = Conversation()
    for when, side, item in events:
        octets = b"" if isinstance(item, Ended) else encode(item)
        conversation.add(side, item, octets, when)  # type: ignore[arg-type]
    return {each.statement.id: each for each in judge("amqp", [conversation])}


TUNE = (0.0, "broker", method("connection.tune", 0, channel_max=10, frame_max=8192, heartbeat=2))


def tuned(**more: int) -> tuple[float, str, Method]:
    arguments = {"channel_max": 10, "frame_max": 8192, "heartbeat": 2, **more}
    return 0.1, "client", method("connection.tune-ok", 0, **arguments)


@pytest.mark.parametrize(
    ("key", "events"),
    [
        ("4.2.7/any-traffic-counts", [TUNE, tuned(), (9.0, "client", Heartbeat())]),
        ("4.2.3/oversized", [TUNE, tuned(), (0.2, "client", RawFrame(3, 1, b"x" * 9000))]),
        ("connection.tune-ok.frame-max/minimum", [TUNE, tuned(frame_max=100)]),
        (
            "2.3.7/close-handshake",
            [TUNE, tuned(), (0.2, "client", method("connection.close-ok", 0)), (0.3, "client", Heartbeat())],
        ),
    ],
)
def test_made_up_conversations_that_break_a_rule_are_accused(key: str, events: list[Any]) -> None:
    assert made_up(*events)[key].verdict is Verdict.DEVIATES


def good(wires: Callable[[], AmqpWire]) -> None:
    wire = wires().open()
    for _ in range(2):
        both(wire)
    wire.call("exchange.declare", exchange="amq.topic", type="topic", passive=True)
    wire.call("exchange.declare", exchange="f", type="fanout")
    wire.call("exchange.bind", source="e", destination="f")
    wire.call("exchange.unbind", source="e", destination="f")
    wire.call("queue.declare", queue="q", passive=True)
    for name in ("queue.bind", "queue.unbind"):
        wire.call(name, exchange="amq.topic", routing_key="a")
    wire.call("queue.purge")
    wire.call("basic.consume", queue="q", consumer_tag="tag", exclusive=True)
    wire.call("basic.cancel", consumer_tag="tag")
    wire.send_content("e", "k")
    wire.call("basic.get", queue="q")
    wire.send("basic.ack", delivery_tag=1)
    wire.call("channel.flow", active=True)
    wire.open_channel(2)
    wire.call("tx.select", channel=2)
    wire.call("tx.commit", channel=2)
    wire.call("tx.rollback", channel=2)
    wire.call("queue.unbind", queue="q", exchange="e", routing_key="k")
    wire.call("queue.delete", if_empty=True, if_unused=True)
    wire.call("exchange.delete", exchange="e", if_unused=True)
    wire.close_connection()


OUGHT = "connection.start-ok.client-properties/required-fields"  # the wire names none of them


def test_a_good_client_is_accused_of_nothing() -> None:
    found = opinions(good)
    assert {key: each.breaches for key, each in found.items() if each.breaches and key != OUGHT} == {}
    bound = {each.id for each in statements("amqp-0-9-1") if each.actor == "client"}
    untested = {key for key in bound if found[key].verdict is Verdict.UNTESTED}
    reserved = {"exchange.declare.exchange/reserved", "queue.declare.queue/reserved"}
    assert untested - set(UNSEEN) - reserved == {"connection.start/client-support"}


def test_every_rule_that_binds_clients_has_a_client_that_breaks_it() -> None:
    bound = {each.id for each in statements("amqp-0-9-1") if each.actor == "client"}
    allowed = {each.id for each in statements("amqp-0-9-1") if each.level == "MAY"}  # cannot be broken
    broken = {key for key, _ in BROKEN} | {"connection.start/client-support"}
    assert bound - broken - allowed - set(UNSEEN) == set()
