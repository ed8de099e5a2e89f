"""AMQP 0-9-1 section 2.3.7: closing channels and connections."""

import pytest
from mqproof.dissectors.amqp.codec import Body, method

DONE = {"reply_code": 200, "reply_text": "done"}
LATE = ["basic.publish", "queue.declare", "basic.get", "channel.open"]


@pytest.mark.normative("amqp-0-9-1:2.3.7/close-handshake")
def test_close_of_a_channel_is_answered_by_close_ok(wire):
    wire.send("channel.close", **DONE)
    assert wire.must_receive("channel.close-ok").channel == 1


@pytest.mark.normative("amqp-0-9-1:2.3.7/close-handshake")
def test_close_of_the_connection_is_answered_by_close_ok(wire):
    """Who closes the socket then is the side that close-ok reaches."""
    wire.send("connection.close", channel=0, **DONE)
    assert wire.must_receive("connection.close-ok").channel == 0


@pytest.mark.normative("amqp-0-9-1:2.3.7/close-handshake")
def test_channel_that_the_broker_closed_can_be_opened_again(wire):
    wire.send("queue.declare", queue=wire.things.absent(), passive=True)
    wire.expect("channel.close", channel=1)
    wire.send("channel.close-ok")
    wire.send("channel.open")
    wire.must_receive("channel.open-ok", channel=1)


@pytest.mark.normative("amqp-0-9-1:2.3.7/close-handshake")
def test_channel_that_the_client_closed_can_be_opened_again(wire):
    for _ in range(3):
        wire.close_channel()
        wire.send("channel.open")
        wire.must_receive("channel.open-ok", channel=1)


@pytest.mark.normative("amqp-0-9-1:channel.close/stability", "amqp-0-9-1:2.3.7/discard-until-close-ok")
@pytest.mark.parametrize("late", LATE)
def test_what_follows_a_channel_exception_is_ignored_until_close_ok(wire, late):
    """The broker has closed the channel; what the client sent before it knew must not count."""
    queue, side = wire.queue(), wire.things.queue(remove=False)
    wire.open_channel(2)
    wire.send("queue.declare", channel=2, queue=wire.things.absent(), passive=True)
    wire.expect("channel.close", channel=2)
    frames = {
        "basic.publish": [method("basic.publish", 2, routing_key=queue), wire.header(4, channel=2), Body(2, b"late")],
        "queue.declare": [method("queue.declare", 2, queue=side, exclusive=True)],
        "basic.get": [method("basic.get", 2, queue=queue)],
        "channel.open": [method("basic.qos", 2, prefetch_count=1)],
    }
    wire.send(*frames[late])
    wire.send("channel.close-ok", channel=2)
    wire.must_accept()
    assert (wire.arrived("queue.declare-ok", "basic.get-empty", "basic.qos-ok"), wire.drain(queue)) == ([], [])
    wire.send("queue.declare", queue=side, passive=True)
    wire.must_refuse(404, fenced=False)


@pytest.mark.normative("amqp-0-9-1:channel.close/stability", "amqp-0-9-1:2.3.7/discard-until-close-ok")
def test_channel_close_that_crosses_the_brokers_own_is_answered(wire):
    """To the broker, which has sent close and waits for close-ok, the client's close comes in its place."""
    wire.send("queue.declare", queue=wire.things.absent(), passive=True)
    wire.expect("channel.close", channel=1)
    wire.send("channel.close", **DONE)
    wire.must_receive("channel.close-ok", channel=1)
    wire.send("channel.close-ok")
    wire.send("channel.open")
    wire.must_receive("channel.open-ok", channel=1)


@pytest.mark.normative("amqp-0-9-1:connection.close/stability", "amqp-0-9-1:2.3.7/discard-until-close-ok")
def test_what_follows_a_connection_exception_is_ignored(amqp, wires):
    queue = amqp.queue(shared=True)
    wire = wires()
    wire.send("exchange.declare", exchange=wire.things.absent(), type="mqproof-no-such-type")
    wire.expect("connection.close")
    wire.send(method("basic.publish", 1, routing_key=queue), wire.header(4), Body(1, b"late"))
    wire.send("connection.close-ok", channel=0)
    wire.must_end()
    assert amqp.drain(queue) == []


@pytest.mark.normative("amqp-0-9-1:connection.close/stability")
def test_connection_close_that_crosses_the_brokers_own_is_answered(wire):
    wire.send("exchange.declare", exchange=wire.things.absent(), type="mqproof-no-such-type")
    wire.expect("connection.close", channel=0)
    wire.send("connection.close", channel=0, **DONE)
    wire.must_receive("connection.close-ok", channel=0)


@pytest.mark.normative("amqp-0-9-1:channel.close/stability")
def test_client_that_closes_is_sent_nothing_but_close_ok(wire):
    """Deliveries under way when the client closes are the client's to discard: none may follow close-ok."""
    queue = wire.queue()
    for _ in range(5):
        wire.publish("", queue)
    wire.open_channel(2)
    wire.consume(queue, channel=2, no_ack=True)
    wire.send("channel.close", channel=2, **DONE)
    wire.must_receive("channel.close-ok", channel=2)
    wire.arrived("basic.deliver")
    wire.fence()
    assert wire.arrived("basic.deliver", channel=2) == []


@pytest.mark.normative("amqp-0-9-1:2.3.7/close-handshake")
@pytest.mark.parametrize("frame", [method("channel.close", 1, **DONE), method("basic.qos", 1)], ids=["close", "qos"])
def test_method_on_a_channel_that_was_closed_is_a_connection_error(wire, frame):
    """A channel closed twice by the client: the second close finds no channel (504)."""
    wire.close_channel()
    wire.send(frame)
    wire.must_refuse(504, 503, fenced=False)
