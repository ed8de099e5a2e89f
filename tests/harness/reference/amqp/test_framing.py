"""Frames, contents and what is wrong with them (sections 4.2.3 to 4.2.7, 4.8.1)."""

import os

import pytest
from mqproof.dissectors.amqp.codec import (
    Body,
    ContentHeader,
    Field,
    Heartbeat,
    Method,
    ProtocolHeader,
    RawFrame,
    content,
    encode,
    method,
)
from mqproof.dissectors.amqp.tables import METHODS, PROTOCOL_HEADER
from mqproof.harness.reference.amqp.broker import Broker, Settings
from mqproof.harness.reference.amqp.connection import Connection, Phase

PUBLISH = method("basic.publish", 1, routing_key="q")
DECLARE = method("queue.declare", 1, queue="x")


def payload(frame: Method) -> bytes:
    return encode(frame)[7:-1]


@pytest.mark.parametrize(
    "frame",
    [
        RawFrame(1, 1, payload(DECLARE), end=0xCD),
        RawFrame(8, 0, end=0),
        RawFrame(7, 0),
        RawFrame(0, 1, b"x"),
        ProtocolHeader(),
    ],
)
def test_fatal_framing_errors_end_it_without_a_frame(peer, frame):
    peer.raw(encode(frame))
    peer.expect_nothing()
    assert peer.ended


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([RawFrame(1, 1, bytes(131072 - 7))], 501),
        ([RawFrame(1, 1, b"\0\x32")], 501),
        ([RawFrame(1, 1, b"")], 501),
        ([RawFrame(1, 1, b"\0\x32\0\x63")], 540),
        ([RawFrame(1, 1, b"\0\x63\0\x0a")], 540),
        ([RawFrame(1, 1, payload(DECLARE)[:-1])], 501),
        ([RawFrame(1, 1, payload(DECLARE)[:-4] + b"\0\0\0\3\1a?")], 501),  # a table with an unknown type
        ([RawFrame(1, 1, payload(DECLARE)[:7])], 501),
        ([RawFrame(1, 1, payload(DECLARE) + b"x")], 501),
        ([Heartbeat(1)], 501),
        ([Heartbeat(0, b"x")], 501),
        ([method("connection.close", 1)], 503),
        ([method("queue.declare", 0)], 504),
        ([method("channel.open", 0)], 504),
        ([method("queue.declare-ok", 1)], 503),
        ([method("basic.deliver", 1)], 503),
        ([method("channel.open-ok", 1)], 503),
        ([method("queue.declare", 2)], 504),
        ([method("channel.close", 2)], 504),
        ([method("channel.open", 1)], 504),
        ([ContentHeader(0, 60, 0)], 504),
        ([Body(0, b"x")], 504),
        ([ContentHeader(2, 60, 0)], 504),
        ([method("channel.open", 2048)], 530),
        ([ContentHeader(1, 60, 0)], 505),
        ([Body(1, b"x")], 505),
        ([PUBLISH, DECLARE], 505),
        ([PUBLISH, PUBLISH], 505),
        ([PUBLISH, method("channel.close", 1)], 505),
        ([PUBLISH, Body(1, b"x")], 505),
        ([PUBLISH, ContentHeader(1, 50, 0)], 501),
        ([PUBLISH, ContentHeader(1, 60, 1, weight=1)], 505),
        ([PUBLISH, ContentHeader(1, 60, 3), Body(1, b"four")], 505),
        ([PUBLISH, ContentHeader(1, 60, 4), Body(1, b"two"), DECLARE], 505),
        ([PUBLISH, ContentHeader(1, 60, 1), ContentHeader(1, 60, 1)], 505),
        ([PUBLISH, RawFrame(2, 1, b"\0\x3c\0\0")], 505),
        ([PUBLISH, RawFrame(2, 1, b"\0\x3c" + bytes(10) + b"\x20\0\0\0\0\3\1a?")], 505),
        ([PUBLISH, RawFrame(2, 1, b"\0\x3c" + bytes(10) + b"\x80\0")], 505),
    ],
    ids=lambda value: None if isinstance(value, int) else "+".join(type(frame).__name__ for frame in value),
)  # fmt: skip
def test_structural_errors_close_the_connection(peer, frames, code):
    for frame in frames:
        peer.raw(encode(frame))
    peer.expect_closed(code, hard=True)


@pytest.mark.parametrize("cut", [1, 7, 100, 131000])
def test_oversized_frame_is_refused_by_its_header_and_stepped_over(peer, cut):
    data = encode(RawFrame(3, 1, bytes(200000)))
    peer.raw(data[: 7 + cut])
    peer.expect("connection.close", reply_code=501)
    peer.raw(data[7 + cut :] + encode(method("connection.close-ok", 0)))
    assert peer.ended


def test_agreed_frame_size_holds_both_ways(connect):
    small = connect(frame_max=4096)
    small.queue("q")
    body = os.urandom(10000)
    for frame in content("basic.publish", 1, body=body, routing_key="q", frame_max=4096):
        small.raw(encode(frame))
    small.send("basic.get", queue="q")
    frames = small.frames()
    assert [len(encode(frame)) for frame in frames[2:]] == [4096, 4096, 10000 - 2 * 4088 + 8]
    assert b"".join(frame.payload for frame in frames[2:]) == body
    small.raw(encode(RawFrame(3, 1, bytes(4089))))
    small.expect_closed(501, hard=True)


@pytest.mark.parametrize("cuts", [[1] * 10, [0, 4, 0, 6], [10], [5, 5]])
def test_body_may_come_in_any_pieces(peer, cuts):
    peer.queue("q")
    body, parts = b"0123456789", []
    for cut in cuts:
        parts.append(body[sum(map(len, parts)) :][:cut])
    frames = [PUBLISH, ContentHeader(1, 60, len(body)), *(Body(1, part) for part in parts)]
    peer.raw(b"".join(map(encode, frames)))
    assert peer.drain() == [body]


def test_empty_body_needs_no_frame(peer):
    peer.queue("q")
    peer.publish(b"")
    assert peer.drain() == [b""]


def test_channels_interleave_their_contents(peer):
    peer.call("channel.open", 2)
    peer.queue("q")
    pairs = zip(
        content("basic.publish", 1, body=b"one", routing_key="q"),
        content("basic.publish", 2, body=b"two", routing_key="q"),
        strict=True,
    )
    for one, two in pairs:
        peer.raw(encode(one) + encode(two))
    assert peer.drain() == [b"one", b"two"]


def test_octet_by_octet_is_the_same(peer):
    data = b"".join(map(encode, [DECLARE, *content("basic.publish", 1, body=b"slow", routing_key="x")]))
    for octet in data:
        peer.raw(bytes([octet]))
    peer.expect("queue.declare-ok")
    assert peer.drain("x") == [b"slow"]


EVERY_PROPERTY = {
    "content_type": "text/plain",
    "content_encoding": "gzip",
    "headers": {"a": 1, "x": Field("b", -1), "t": [True, None, {"n": "s"}], "l": 2**40, "f": 1.5},
    "delivery_mode": 2,
    "priority": 3,
    "correlation_id": "c",
    "reply_to": "r",
    "expiration": "60000",
    "message_id": "m",
    "type": "t",
    "user_id": "guest",
    "app_id": "a",
    "reserved": "cluster",
}


def test_properties_arrive_octet_for_octet(peer):
    peer.queue("q")
    peer.publish(b"body", properties=EVERY_PROPERTY)
    sent = encode(ContentHeader(1, 60, 4, EVERY_PROPERTY))
    peer.send("basic.get", queue="q")
    data = peer.connection.output()
    assert sent in data


def test_header_that_decodes_to_something_shorter_arrives_octet_for_octet(peer):
    """A table with one name twice loses the first in our hands, but not on the way to the consumer."""
    peer.queue("q")
    table = b"\x01aI\0\0\0\1" + b"\x01aI\0\0\0\2"
    header = b"\0\x3c\0\0" + bytes(8) + b"\x20\0" + len(table).to_bytes(4) + table
    peer.raw(encode(PUBLISH) + encode(RawFrame(2, 1, header)))
    peer.send("basic.get", queue="q")
    assert header in peer.connection.output()


@pytest.mark.parametrize("name", ["1a", "-a", "", "_a", "é", "a" * 129])
@pytest.mark.parametrize("place", ["arguments", "nested", "headers"])
def test_bad_field_names_are_503(peer, name, place):
    if place == "headers":
        peer.publish(properties={"headers": {name: 1}})
    else:
        table = {name: 1} if place == "arguments" else {"a": [{name: 1}]}
        peer.send("queue.declare", queue="q", arguments=table)
    peer.expect_closed(503, hard=True)


def test_good_field_names_pass(peer):
    peer.queue("q", arguments={"$a": 1, "#": 2, "a" * 128: 3, "x-made.up": 4, "A9_": {"Z": 1}})


@pytest.mark.parametrize(
    "name",
    [name for name, spec in METHODS.items() if "server" not in spec.received_by and spec.class_name != "connection"],
)
def test_methods_for_clients_are_503(peer, name):
    peer.send(name)
    peer.expect_closed(503, hard=True)


def test_header_too_large_for_the_consumer_waits_for_another(connect):
    large, small = connect(), connect(frame_max=4096)
    large.queue("q")
    small.consume("q")
    large.publish(b"bulky", properties={"headers": {"a": "x" * 5000}})
    large.publish(b"slim")
    assert small.bodies() == [b"slim"]
    small.send("basic.get", queue="q")
    small.expect_closed(311)
    assert large.drain() == [b"bulky", b"slim"]  # the closed channel gave slim back


@pytest.mark.parametrize("broker", [Settings(max_message_size=100)], indirect=True)
def test_too_large_a_message_is_406_when_it_is_complete(peer):
    peer.queue("q")
    peer.publish(bytes(100))
    *frames, last = content("basic.publish", 1, body=bytes(101), routing_key="q", frame_max=60)
    peer.raw(b"".join(map(encode, frames)))
    peer.expect_nothing()
    peer.raw(encode(last))
    peer.expect_closed(406)
    peer.call("channel.open")
    assert peer.drain() == [bytes(100)]


def test_announced_size_reserves_nothing(peer):
    peer.raw(encode(PUBLISH) + encode(ContentHeader(1, 60, 2**64 - 1)))
    for _ in range(100):
        peer.raw(encode(Body(1, bytes(100000))))
    peer.expect_nothing()


def test_access_request_of_old_clients_gets_a_ticket(peer):
    peer.raw(encode(RawFrame(1, 1, b"\0\x1e\0\x0a\x05/data\x1f")))
    assert peer.connection.output() == encode(RawFrame(1, 1, b"\0\x1e\0\x0b\0\x01"))
    peer.queue("q")


def test_access_request_without_a_channel_is_refused(peer):
    peer.raw(encode(RawFrame(1, 9, b"\0\x1e\0\x0a\x05/data\x1f")))
    peer.expect_closed(540, hard=True)


def test_failure_of_ours_is_541_and_hurts_nobody_else(connect, monkeypatch, caplog):
    from mqproof.harness.reference.amqp.topology import VirtualHost

    victim, other = connect(), connect()
    monkeypatch.setattr(VirtualHost, "declare_queue", lambda *args, **kwargs: 1 / 0)
    victim.send("queue.declare", queue="q")
    victim.expect_closed(541, hard=True)
    assert "ZeroDivisionError" in caplog.text
    other.call("exchange.declare", exchange="e", type="direct")


@pytest.mark.parametrize("seed", range(20))
def test_noise_never_breaks_the_broker(broker: Broker, connect, seed, caplog):
    """Random octets, and valid conversations with random octets changed: an end or an exception, never a failure."""
    import random

    rng = random.Random(seed)
    talk = [DECLARE, *content("basic.publish", 1, body=b"abc", properties=EVERY_PROPERTY, routing_key="x")]
    talk += [method("basic.consume", 1, queue="x"), method("basic.ack", 1, delivery_tag=1), method("tx.select", 1)]
    for _ in range(50):
        peer = connect()
        data = bytearray(b"".join(map(encode, talk)))
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        peer.raw(bytes(data))
        peer.frames()
        peer.connection.lost()
        noisy = Connection(broker, lambda: None)
        noisy.receive(PROTOCOL_HEADER + rng.randbytes(200))
        assert noisy.phase in (Phase.ENDED, Phase.START_OK)
    assert "defect of the reference broker" not in caplog.text
