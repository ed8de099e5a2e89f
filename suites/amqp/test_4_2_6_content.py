"""AMQP 0-9-1 section 4.2.6: content headers and bodies, and section 3.1.1: messages kept as they are."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from mqproof.dissectors.amqp.codec import Body, RawFrame, method
from mqproof.dissectors.amqp.tables import FrameType

SPLITS = {
    "one frame": [30],
    "octet by octet": [1] * 30,
    "halves": [15, 15],
    "empty frames between": [0, 10, 0, 0, 20],
    "uneven": [1, 28, 1],
}
PROPERTIES = {
    "content_type": "text/plain; charset=utf-8",
    "content_encoding": "identity",
    "delivery_mode": 1,
    "priority": 0,
    "correlation_id": "c" * 255,
    "reply_to": "somewhere",
    "message_id": "",
    "timestamp": datetime(2026, 2, 28, 12, 30, tzinfo=UTC),
    "type": "größe",
    "app_id": "mqproof",
}


def publish_raw(wire, *frames, channel=1):
    """Send a publish to the default exchange with these frames as its content; return the queue's name."""
    queue = wire.queue()
    wire.send(method("basic.publish", channel, routing_key=queue), *frames)
    return queue


@pytest.mark.normative("amqp-0-9-1:4.2.6.2/split-body", "amqp-0-9-1:3.1.1/body-unmodified")
@pytest.mark.parametrize("split", SPLITS)
def test_body_may_be_split_in_any_way(wire, split):
    body = bytes(range(100, 130))
    edges = [sum(SPLITS[split][:number]) for number in range(len(SPLITS[split]) + 1)]
    parts = [Body(1, body[start:end]) for start, end in pairwise(edges)]
    queue = publish_raw(wire, wire.header(30), *parts)
    wire.must_accept()
    assert wire.drain(queue) == [body]


@pytest.mark.normative("amqp-0-9-1:3.1.1/body-unmodified")
@pytest.mark.parametrize("size", [0, 1, 255, 4096, 131072, 300000])
def test_body_of_any_size_arrives_octet_by_octet(wire, size):
    body = bytes(number % 251 for number in range(size))
    queue = wire.queue()
    wire.publish("", queue, body)
    assert wire.drain(queue) == [body]


@pytest.mark.normative("amqp-0-9-1:3.1.1/properties-kept")
@pytest.mark.parametrize("name", PROPERTIES)
def test_property_reaches_the_consumer_as_it_was_set(wire, name):
    queue = wire.queue()
    wire.publish("", queue, **{name: PROPERTIES[name]})
    (message,) = wire.drained(queue)
    assert message.properties == {name: PROPERTIES[name]}


@pytest.mark.normative("amqp-0-9-1:3.1.1/properties-kept")
def test_all_properties_together_reach_the_consumer(wire):
    queue = wire.queue()
    wire.publish("", queue, **PROPERTIES)
    (message,) = wire.drained(queue)
    assert message.properties == PROPERTIES


@pytest.mark.normative("amqp-0-9-1:3.1.1/properties-kept")
def test_message_without_properties_has_none_at_the_consumer(wire):
    queue = wire.queue()
    wire.publish("", queue)
    (message,) = wire.drained(queue)
    assert message.properties == {}


@pytest.mark.normative("amqp-0-9-1:4.2.6/bad-content")
def test_publish_without_a_header_is_refused_with_505(wire):
    publish_raw(wire, method("basic.qos", 1))
    wire.must_refuse(505)


@pytest.mark.normative("amqp-0-9-1:4.2.6/bad-content")
def test_body_in_place_of_the_header_is_refused_with_505(wire):
    publish_raw(wire, Body(1, b"body"))
    wire.must_refuse(505)


@pytest.mark.normative("amqp-0-9-1:4.2.6/bad-content")
def test_method_in_place_of_the_body_is_refused_with_505(wire):
    publish_raw(wire, wire.header(10), method("basic.qos", 1))
    wire.must_refuse(505)


@pytest.mark.normative("amqp-0-9-1:4.2.6/bad-content")
def test_body_cut_short_by_a_method_is_refused_with_505(wire):
    publish_raw(wire, wire.header(10), Body(1, b"12345"), method("basic.qos", 1))
    wire.must_refuse(505)


@pytest.mark.normative("amqp-0-9-1:4.2.6/bad-content")
def test_second_header_is_refused_with_505(wire):
    publish_raw(wire, wire.header(10), wire.header(10))
    wire.must_refuse(505)


@pytest.mark.normative("amqp-0-9-1:4.2.6/bad-content")
def test_body_longer_than_announced_is_refused_with_505(wire):
    publish_raw(wire, wire.header(4), Body(1, b"12345"))
    wire.must_refuse(505)


@pytest.mark.normative("amqp-0-9-1:4.2.6/bad-content")
@pytest.mark.parametrize("frame", [Body(1, b"body"), "header"], ids=["body", "header"])
def test_content_that_no_method_announced_is_refused(wire, frame):
    """505 by the section; 503 is an invalid sequence of frames."""
    wire.send(wire.header(4) if frame == "header" else frame)
    wire.must_refuse(505, 503)


@pytest.mark.normative("amqp-0-9-1:4.2.6/bad-content")
def test_header_whose_properties_are_cut_short_closes_the_connection(wire):
    """Badly formed content: 505 by the section; 501 and 502 where the frame or its syntax is what is examined."""
    flags_only = (60).to_bytes(2) + bytes(2) + bytes(8) + b"\x80\x00" + b"\x0ashort"
    publish_raw(wire, RawFrame(FrameType.HEADER, 1, flags_only))
    wire.must_refuse(505, 501, 502)


@pytest.mark.normative("amqp-0-9-1:4.2.6.1/class-id")
@pytest.mark.parametrize("class_id", [0, 50, 90, 61])
def test_header_of_another_class_is_refused(wire, class_id):
    publish_raw(wire, wire.header(0, class_id=class_id))
    wire.must_refuse(501, 505)


@pytest.mark.normative("amqp-0-9-1:4.2.6.1/channel-not-zero")
@pytest.mark.parametrize("kind", ["header", "body"])
def test_content_on_channel_zero_is_refused_with_504(wire, kind):
    wire.send(wire.header(4, channel=0) if kind == "header" else Body(0, b"body"))
    wire.must_refuse(504)


@pytest.mark.normative("amqp-0-9-1:4.3/many-channels", "amqp-0-9-1:4.2.6.2/split-body")
def test_contents_of_several_channels_may_be_interleaved(wire):
    queues = [wire.queue() for _ in range(3)]
    for channel in (2, 3):
        wire.open_channel(channel)
    channels = list(zip((1, 2, 3), queues, strict=True))
    wire.send(*(method("basic.publish", channel, routing_key=queue) for channel, queue in channels))
    wire.send(*(wire.header(8, channel=channel) for channel, _ in channels))
    for octet in range(8):
        wire.send(*(Body(channel, bytes([48 + channel])) for channel, _ in channels[:: 1 if octet % 2 else -1]))
    for channel, _ in channels:
        wire.fence(channel)
    assert [wire.drain(queue) for queue in queues] == [[b"11111111"], [b"22222222"], [b"33333333"]]


@pytest.mark.normative("amqp-0-9-1:4.3/many-channels", "amqp-0-9-1:4.2.6.2/split-body")
def test_method_on_another_channel_may_come_between_frames_of_a_content(wire):
    queue = wire.queue()
    wire.open_channel(2)
    wire.send(method("basic.publish", 1, routing_key=queue), wire.header(4))
    wire.send(Body(1, b"12"))
    wire.must_accept(channel=2)
    wire.send(Body(1, b"34"))
    wire.fence()
    assert wire.drain(queue) == [b"1234"]
