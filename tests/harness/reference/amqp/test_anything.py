"""Random conversations: nothing is lost, doubled or out of place, and nothing that clients say breaks the broker."""

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mqproof.dissectors.amqp.codec import ContentHeader, Method, content, encode, method
from mqproof.dissectors.amqp.tables import METHODS
from mqproof.harness.reference.amqp.broker import Broker

CHANNELS = (1, 2, 3)


@pytest.fixture(scope="module")
def errors_logged() -> Iterator[list[str]]:
    """What the broker logs as a failure of its own."""
    errors: list[str] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: errors.append(str(record.exc_info))  # type: ignore[method-assign]
    logger = logging.getLogger("mqproof.harness.reference.amqp")
    logger.addHandler(handler)
    yield errors
    logger.removeHandler(handler)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from(CHANNELS), st.just(0)),
        st.tuples(st.just("consume"), st.sampled_from(CHANNELS), st.integers(0, 3)),
        st.tuples(st.sampled_from(["cancel", "get", "recover", "reopen"]), st.sampled_from(CHANNELS), st.just(0)),
        st.tuples(st.sampled_from(["ack", "reject", "requeue"]), st.sampled_from(CHANNELS), st.integers(0, 4)),
        st.tuples(st.sampled_from(["ack-all", "requeue-all"]), st.sampled_from(CHANNELS), st.integers(0, 4)),
        st.tuples(st.just("wait"), st.just(1), st.just(0)),
    ),
    min_size=15,
    max_size=60,
)


class Story:
    """Drives one queue through three channels and keeps the books."""

    def __init__(self, clock: Any, peer: Any) -> None:
        self.clock = clock
        self.peer = peer
        self.peer.login()
        for channel in CHANNELS:
            self.peer.call("channel.open", channel)
        self.peer.queue("q")
        self.published = 0
        self.settled: set[bytes] = set()
        self.seen: set[bytes] = set()
        self.outstanding: dict[int, dict[int, bytes]] = {channel: {} for channel in CHANNELS}
        self.consuming: set[int] = set()

    def step(self, what: str, channel: int, number: int) -> None:
        getattr(self, what.replace("-", "_"))(channel, number)
        self.collect()

    def collect(self) -> None:
        """Note what was delivered; check redelivered against what was seen before."""
        frames = self.peer.frames()
        for frame, header, body in zip(frames, frames[1:], frames[2:], strict=False):
            if isinstance(frame, Method) and frame.name in ("basic.deliver", "basic.get-ok"):
                assert isinstance(header, ContentHeader)
                payload = body.payload
                assert frame.arguments["redelivered"] == (payload in self.seen)
                assert payload not in self.settled
                assert all(payload not in held.values() for held in self.outstanding.values())
                self.seen.add(payload)
                self.outstanding[frame.channel][frame.arguments["delivery_tag"]] = payload
        assert not any(isinstance(frame, Method) and frame.name.endswith(".close") for frame in frames)

    def publish(self, channel: int, _: int) -> None:
        self.peer.publish(b"%06d" % self.published, channel=channel)
        self.published += 1

    def consume(self, channel: int, prefetch: int) -> None:
        if channel not in self.consuming:
            self.consuming.add(channel)
            self.peer.send("basic.qos", channel, prefetch_count=prefetch)
            self.peer.send("basic.consume", channel, queue="q", consumer_tag=f"c{channel}")

    def cancel(self, channel: int, _: int) -> None:
        self.consuming.discard(channel)
        self.peer.send("basic.cancel", channel, consumer_tag=f"c{channel}")

    def get(self, channel: int, _: int) -> None:
        self.peer.send("basic.get", channel, queue="q")

    def recover(self, channel: int, _: int) -> None:
        self.outstanding[channel].clear()
        self.peer.send("basic.recover", channel, requeue=True)

    def reopen(self, channel: int, _: int) -> None:
        self.outstanding[channel].clear()
        self.consuming.discard(channel)
        self.peer.send("channel.close", channel)
        self.collect()
        self.peer.send("channel.open", channel)

    def wait(self, *_: int) -> None:
        self.clock.advance(1)

    def _settle(self, name: str, channel: int, number: int, **arguments: Any) -> None:
        tags = sorted(self.outstanding[channel])
        if number >= len(tags):
            return
        chosen = tags[: number + 1] if arguments.get("multiple") else [tags[number]]
        for tag in chosen:
            body = self.outstanding[channel].pop(tag)
            if not arguments.get("requeue"):
                self.settled.add(body)
        self.peer.send(name, channel, delivery_tag=tags[number], **arguments)

    def ack(self, channel: int, number: int) -> None:
        self._settle("basic.ack", channel, number)

    def reject(self, channel: int, number: int) -> None:
        self._settle("basic.reject", channel, number, requeue=False)

    def requeue(self, channel: int, number: int) -> None:
        self._settle("basic.reject", channel, number, requeue=True)

    def ack_all(self, channel: int, number: int) -> None:
        self._settle("basic.ack", channel, number, multiple=True)

    def requeue_all(self, channel: int, number: int) -> None:
        self._settle("basic.nack", channel, number, multiple=True, requeue=True)


@given(STEPS)
@settings(max_examples=100, deadline=None)
def test_every_message_is_settled_once_or_still_there_in_its_place(new_clock, new_peer, steps):
    clock = new_clock()
    story = Story(clock, new_peer(Broker(clock)))
    for what, channel, number in steps:
        story.step(what, channel, number)
    story.peer.connection.lost()
    last = new_peer(story.peer.broker)
    last.login()
    last.call("channel.open")
    left = [b"%06d" % number for number in range(story.published)]
    assert last.drain() == [body for body in left if body not in story.settled]


NAMES = st.sampled_from(["", "q", "p", "e", "f", "amq.topic", "amq.rabbitmq.reply-to", "none", "a b"])
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bit": st.booleans(),
    "octet": st.integers(0, 255),
    "short": st.integers(0, 3),
    "long": st.integers(0, 3),
    "longlong": st.integers(0, 3),
    "shortstr": NAMES,
    "longstr": st.binary(max_size=5),
    "table": st.dictionaries(
        st.sampled_from([
            "x-message-ttl", "x-expires", "x-max-length", "x-dead-letter-exchange", "x-dead-letter-routing-key",
            "x-max-priority", "x-single-active-consumer", "x-priority", "x-match", "alternate-exchange", "h", "",
            "x-delivery-limit", "x-consumer-timeout", "x-overflow",
        ]),
        st.sampled_from([0, 1, 5, -1, "e", "", "q", "any", "all", "reject-publish", "reject-publish-dlx", True, None]),
        max_size=4,
    ),
}  # fmt: skip
TYPES = st.sampled_from(["direct", "fanout", "topic", "headers", "odd"])
HEADERS = st.dictionaries(
    st.sampled_from(["CC", "BCC", "h", "x-death"]), st.sampled_from([1, "q", ["q"], ["p", "q"], None]), max_size=3
)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "headers": HEADERS,
        "priority": st.integers(0, 255),
        "expiration": st.sampled_from(["0", "1", "x"]),
        "user_id": st.sampled_from(["guest", "x"]),
        "reply_to": st.just("amq.rabbitmq.reply-to"),
    },
)
COMMON = [
    name
    for name, spec in METHODS.items()
    if "server" in spec.received_by and spec.class_name not in ("connection", "channel")
]


@st.composite
def methods(draw: st.DrawFn) -> bytes:
    name = draw(st.sampled_from(COMMON * 5 + [name for name, spec in METHODS.items() if spec.class_name == "channel"]))
    channel = draw(st.sampled_from([1, 1, 1, 2]))
    arguments = {field.key: draw(VALUES[field.type]) for field in METHODS[name].fields}
    if name == "exchange.declare":
        arguments["type"] = draw(TYPES)
    if name == "basic.publish":
        frames = content(name, channel, body=draw(st.binary(max_size=4)), properties=draw(PROPERTIES), **arguments)
        return b"".join(map(encode, frames))
    return encode(method(name, channel, **arguments))


@given(st.lists(st.tuples(st.integers(0, 1), methods() | st.floats(0, 2)), max_size=60))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_conversation_breaks_the_broker(new_clock, new_peer, errors_logged, talk):
    """Two clients say whatever they like; one that is thrown out comes back."""
    clock = new_clock()
    broker = Broker(clock)
    peers = [come_back(new_peer, broker), come_back(new_peer, broker)]
    for who, said in talk:
        if isinstance(said, float):
            clock.advance(said)
            continue
        if peers[who].ended:
            peers[who] = come_back(new_peer, broker)
        peers[who].raw(said)
        for frame in peers[who].frames():
            if isinstance(frame, Method) and frame.name in ("channel.close", "connection.close"):
                peers[who].send(f"{frame.name}-ok", frame.channel)
                if frame.channel:
                    peers[who].send("channel.open", frame.channel)
    assert errors_logged == []
    for peer in peers:
        peer.connection.lost()
    assert not broker.connections


def come_back(new_peer: Any, broker: Broker) -> Any:
    peer = new_peer(broker)
    peer.login(consumer_cancel_notify=True)
    for channel in (1, 2):
        peer.call("channel.open", channel)
    return peer


def test_queue_operations_take_constant_time(new_clock, new_peer):
    """Ten times the messages take about ten times as long, for filling, requeueing all and sending them again."""

    def took(messages: int) -> float:
        peer = come_back(new_peer, Broker(new_clock()))
        peer.queue("q")
        start = time.process_time()  # of this process alone: others may be busy meanwhile
        frames = b"".join(map(encode, content("basic.publish", body=b"m", routing_key="q")))
        peer.raw(frames * messages)
        peer.raw(encode(method("basic.consume", 1, queue="q")))
        for _ in range(3):
            peer.connection.output()
            peer.raw(encode(method("basic.recover", 1, requeue=True)))
        peer.connection.output()
        return time.process_time() - start

    small = min(took(500) for _ in range(3))
    assert min(took(5000) for _ in range(2)) < small * 10 * 5
