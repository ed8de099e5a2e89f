"""Deep faults: every name is asked for somewhere, and makes a difference that this page shows for each."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mqproof.dissectors.amqp.codec import plain
from mqproof.harness.reference import amqp as package
from mqproof.harness.reference.amqp.broker import Broker
from mqproof.harness.reference.amqp.capabilities import BY_FEATURE, NOT_OFFERED, OFFERED, table
from mqproof.harness.reference.amqp.defects import KNOWN

Story = Callable[[Any, Any], Any]


def routed(
    type_: str, binding: str, key: str, arguments: dict[str, Any] | None = None, headers: dict[str, Any] | None = None
) -> Story:
    """Bind one queue and tell how many copies of a message reach it."""

    def story(connect, clock):
        peer = connect()
        peer.queue("q")
        peer.call("queue.bind", queue="q", exchange=f"amq.{type_}", routing_key=binding, arguments=arguments or {})
        peer.publish(b"m", key, exchange=f"amq.{type_}", properties={"headers": headers or {}})
        return peer.count()

    return story


def returned(connect, clock, **declared):
    """Tell what comes back to the queue from a channel that closes."""
    peer, other = connect(), connect()
    peer.queue("q", **declared)
    for body in (b"1", b"2"):
        peer.publish(body)
    peer.get(no_ack=False)
    clock.advance(0.75)
    peer.call("channel.close")
    clock.advance(0.75)
    found = []
    while True:
        other.send("basic.get", queue="q", no_ack=True)
        frames = other.frames()
        if len(frames) == 1:
            return found
        found.append((frames[2].payload, frames[0].arguments["redelivered"]))


def consumed(connect, clock, bodies=(b"1", b"2"), qos=None, consumers=({},), **declared):
    """Tell who gets what."""
    peer = connect()
    peer.queue("q", **declared)
    if qos:
        peer.call("basic.qos", **qos)
    for number, arguments in enumerate(consumers):
        peer.consume(tag=f"c{number}", **arguments)
    for body in bodies:
        peer.publish(body)
    found = []
    while peer.connection._out or peer._frames:
        arguments, _, body = peer.expect_content("basic.deliver")
        found.append((arguments["consumer_tag"], body))
    return found


def ordered(connect, clock):
    peer = connect()
    peer.queue("q")
    for body in (b"1", b"2"):
        peer.publish(body)
    peer.publish(b"high", properties={"priority": 9})
    return peer.drain()


def expiring(connect, clock):
    peer = connect()
    peer.queue("q", arguments={"x-message-ttl": 1000})
    peer.publish(b"m")
    clock.advance(1)
    return peer.count()


def unused(connect, clock):
    peer = connect()
    peer.queue("q", arguments={"x-expires": 1000})
    clock.advance(1)
    return exists(peer)


def exists(peer):
    peer.send("queue.declare", queue="q", passive=True)
    return peer.frames()[0].arguments.get("reply_code", "there")


def deaths(connect, clock):
    peer = connect()
    peer.queue("q", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "q"})
    peer.publish(b"m")
    for tag in (1, 2):
        if peer.get(no_ack=False) is None:
            return None
        peer.send("basic.reject", delivery_tag=tag)
    peer.send("basic.get", queue="q")
    return plain(peer.expect_content("basic.get-ok")[1]["headers"]["x-death"])[0]["count"]


def full(connect, clock):
    peer = connect()
    peer.queue("q", arguments={"x-max-length": 1})
    for body in (b"1", b"2"):
        peer.publish(body)
    return peer.drain()


def transacted(connect, clock):
    peer = connect()
    peer.queue("q")
    peer.call("tx.select")
    peer.publish(b"m")
    peer.call("tx.rollback")
    return peer.count()


def exclusive(connect, clock):
    peer, other = connect(), connect()
    peer.queue("q", exclusive=True)
    return exists(other)


def left_behind(connect, clock):
    peer, other = connect(), connect()
    peer.queue("q", exclusive=True)
    peer.connection.lost()
    return exists(other)


def abandoned(connect, clock):
    peer = connect()
    peer.queue("q", auto_delete=True)
    peer.consume()
    peer.call("basic.cancel", consumer_tag="c")
    return exists(peer)


def elsewhere(connect, clock):
    connect().queue("q")
    return exists(connect(vhost="other"))


def heartbeats(connect, clock):
    peer = connect(heartbeat=2)
    clock.advance(3)
    return len(peer.frames())


def silence(connect, clock):
    peer = connect(heartbeat=2)
    clock.advance(10)
    return peer.ended


def replies(connect, clock):
    peer = connect()
    peer.queue("q")
    peer.consume("amq.rabbitmq.reply-to", tag="r", no_ack=True)
    peer.publish(b"m", properties={"reply_to": "amq.rabbitmq.reply-to"})
    peer.send("basic.get", queue="q")
    return peer.expect_content("basic.get-ok")[1]["reply_to"] == "amq.rabbitmq.reply-to"


def twice_bound(connect, clock):
    peer = connect()
    peer.queue("q")
    for key in "ab":
        peer.call("queue.bind", queue="q", exchange="amq.fanout", routing_key=key)
    peer.publish(b"m", exchange="amq.fanout")
    return peer.count()


def two_bound(connect, clock):
    peer = connect()
    for name in ("q", "p"):
        peer.queue(name)
        peer.call("queue.bind", queue=name, exchange="amq.fanout")
    peer.publish(b"m", exchange="amq.fanout")
    return peer.count("q"), peer.count("p")


def unbound(connect, clock):
    peer = connect()
    peer.queue("q")
    peer.call("queue.bind", queue="q", exchange="amq.fanout")
    peer.call("queue.unbind", queue="q", exchange="amq.fanout")
    peer.publish(b"m", exchange="amq.fanout")
    return peer.count()


def linked(connect, clock):
    peer = connect()
    peer.queue("q")
    peer.call("queue.bind", queue="q", exchange="amq.fanout")
    peer.call("exchange.bind", destination="amq.fanout", source="amq.direct", routing_key="k")
    peer.publish(b"m", "k", exchange="amq.direct")
    return peer.count()


def alternate(connect, clock):
    peer = connect()
    peer.queue("q")
    peer.call("queue.bind", queue="q", exchange="amq.fanout")
    peer.call("exchange.declare", exchange="e", type="direct", arguments={"alternate-exchange": "amq.fanout"})
    peer.publish(b"m", exchange="e")
    return peer.count()


def copied(connect, clock):
    peer = connect()
    peer.queue("q")
    peer.publish(b"m", "nowhere", properties={"headers": {"CC": ["q"]}})
    return peer.count()


def blind(connect, clock):
    peer = connect()
    peer.queue("q")
    peer.publish(b"m", properties={"headers": {"BCC": ["x"]}})
    peer.send("basic.get", queue="q")
    return peer.expect_content("basic.get-ok")[1]["headers"]


def purged(connect, clock):
    peer, other = connect(), connect()
    peer.queue("q")
    peer.publish(b"m")
    peer.get(no_ack=False)
    peer.call("queue.purge", queue="q")
    peer.call("channel.close")
    return other.count()


def local(connect, clock):
    return consumed(connect, clock, consumers=({"no_local": True},))


STORIES: dict[str, tuple[Story, Any, Any]] = {
    "topic-star-any": (routed("topic", "a.*", "a"), 0, 1),
    "topic-star-many": (routed("topic", "a.*", "a.b.c"), 0, 1),
    "topic-hash-one": (routed("topic", "a.#", "a"), 1, 0),
    "topic-hash-literal": (routed("topic", "a.#", "a.b"), 1, 0),
    "topic-case-blind": (routed("topic", "A.b", "a.B"), 0, 1),
    "direct-prefix": (routed("direct", "a", "ab"), 0, 1),
    "direct-all": (routed("direct", "a", "b"), 0, 1),
    "fanout-first-only": (two_bound, (1, 1), (1, 0)),
    "fanout-by-key": (routed("fanout", "a", "b"), 1, 0),
    "headers-any-as-all": (routed("headers", "", "", {"x-match": "any", "a": 1, "b": 2}, {"a": 1}), 1, 0),
    "headers-all-as-any": (routed("headers", "", "", {"a": 1, "b": 2}, {"a": 1}), 0, 1),
    "headers-void-exact": (routed("headers", "", "", {"a": None}, {"a": 1}), 1, 0),
    "headers-x-counts": (routed("headers", "", "", {"x-a": 1}, {}), 1, 0),
    "headers-by-key": (routed("headers", "a", "b", {"a": 1}, {"a": 1}), 1, 0),
    "copies-per-binding": (twice_bound, 1, 2),
    "no-default-binding": (ordered, [b"high", b"1", b"2"], []),
    "alternate-ignored": (alternate, 1, 0),
    "unbind-ignored": (unbound, 0, 1),
    "e2e-ignored": (linked, 1, 0),
    "cc-ignored": (copied, 1, 0),
    "bcc-kept": (blind, {}, {"BCC": ["x"]}),
    "fifo-reversed": (ordered, [b"high", b"1", b"2"], [b"2", b"1", b"high"]),
    "requeue-at-tail": (returned, [(b"1", True), (b"2", False)], [(b"2", False), (b"1", True)]),
    "requeue-lost": (returned, [(b"1", True), (b"2", False)], [(b"2", False)]),
    "redelivered-unset": (returned, [(b"1", True), (b"2", False)], [(b"1", False), (b"2", False)]),
    "prefetch-ignored": (
        lambda connect, clock: len(consumed(connect, clock, qos={"prefetch_count": 1})), 1, 2
    ),
    "prefetch-size-absolute": (
        lambda connect, clock: len(consumed(connect, clock, (b"12345",), qos={"prefetch_size": 4})), 1, 0
    ),
    "priority-ignored": (ordered, [b"high", b"1", b"2"], [b"1", b"2", b"high"]),
    "priority-reversed": (ordered, [b"high", b"1", b"2"], [b"1", b"2", b"high"]),
    "delivered-twice": (
        lambda connect, clock: consumed(connect, clock, (b"m",), consumers=({}, {})),
        [("c0", b"m")],
        [("c0", b"m"), ("c1", b"m")],
    ),
    "purge-takes-unacked": (purged, 1, 0),
    "ttl-ignored": (expiring, 0, 1),
    "ttl-restarts": (
        lambda connect, clock: returned(connect, clock, arguments={"x-message-ttl": 1000}), [], [(b"1", True)]
    ),
    "expires-ignored": (unused, 404, "there"),
    "dead-letter-ignored": (deaths, 2, None),
    "x-death-uncounted": (deaths, 2, 1),
    "max-length-ignored": (full, [b"2"], [b"1", b"2"]),
    "overflow-drops-new": (full, [b"2"], [b"1"]),
    "tx-immediate": (transacted, 0, 1),
    "exclusive-shared": (exclusive, 405, "there"),
    "exclusive-kept": (left_behind, 404, 405),
    "auto-delete-kept": (abandoned, 404, "there"),
    "sac-all": (
        lambda connect, clock: consumed(
            connect, clock, consumers=({}, {}), arguments={"x-single-active-consumer": True}
        ),
        [("c0", b"1"), ("c0", b"2")],
        [("c0", b"1"), ("c1", b"2")],
    ),
    "consumer-priority-ignored": (
        lambda connect, clock: consumed(connect, clock, consumers=({}, {"arguments": {"x-priority": 1}})),
        [("c1", b"1"), ("c1", b"2")],
        [("c0", b"1"), ("c1", b"2")],
    ),
    "vhosts-shared": (elsewhere, 404, "there"),
    "heartbeats-unsent": (heartbeats, 3, 0),
    "heartbeats-unwatched": (silence, True, False),
    "reply-to-queued": (replies, False, True),
    "no-local-ignored": (local, [], [("c0", b"1"), ("c0", b"2")]),
}  # fmt: skip


def test_every_known_defect_has_a_story():
    assert STORIES.keys() == KNOWN.keys()


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("broken", [False, True], ids=["whole", "broken"])
def test_defect_makes_its_difference(name, broken, clock, request):
    story, whole, fault = STORIES[name]
    broker = Broker(clock, defects={name} if broken else ())
    peers = request.getfixturevalue("connect")

    def connect(**options):
        peer = type(peers())(broker)
        peer.login(**options)
        peer.call("channel.open")
        return peer

    assert story(connect, clock) == (fault if broken else whole)


def test_no_defect_is_asked_for_that_is_not_known():
    folder = Path(package.__file__).parent
    asked = {
        name
        for path in folder.glob("*.py")
        if path.stem != "defects"
        for name in re.findall(r'defective\("([^"]+)"\)', path.read_text())
    }
    assert asked == KNOWN.keys()


def test_features_are_offered_or_not():
    assert set(OFFERED) | NOT_OFFERED == set(BY_FEATURE.values())
    assert not set(OFFERED) & NOT_OFFERED
    assert table() == dict.fromkeys(OFFERED, True)
