"""AMQP 0-9-1 section 3.1.7: prefetch bounds how many messages are unacknowledged at a time."""

import pytest


def fill(wire, queue, number):
    return [wire.publish("", queue) for _ in range(number)]


@pytest.mark.normative("amqp-0-9-1:3.1.7/prefetch", "amqp-0-9-1:basic.qos.prefetch-count/01")
@pytest.mark.parametrize("window", [1, 3])
def test_consumer_is_given_no_more_than_its_prefetch_count(wire, window):
    queue = wire.queue()
    bodies = fill(wire, queue, 5)
    wire.consume(queue, prefetch=window)
    assert [message.body for message in wire.must_have(window)] == bodies[:window]


@pytest.mark.normative("amqp-0-9-1:3.1.7/prefetch")
def test_each_ack_lets_one_more_message_through(wire):
    queue = wire.queue()
    bodies = fill(wire, queue, 5)
    wire.consume(queue, prefetch=2)
    delivered = [wire.must_have(2)]
    for tag in (1, 2, 3):
        wire.ack(tag)
        delivered.append(wire.must_have(1))
    expected = [bodies[:2], *([body] for body in bodies[2:])]
    assert [[message.body for message in messages] for messages in delivered] == expected


@pytest.mark.normative("amqp-0-9-1:3.1.7/prefetch")
def test_messages_beyond_the_window_stay_in_the_queue_for_others(amqp, wires):
    queue = amqp.queue(shared=True)
    bodies = fill(amqp, queue, 4)
    slow, fast = wires(), wires()
    slow.consume(queue, prefetch=1)
    held = slow.must_have(1)
    fast.consume(queue, prefetch=10)
    assert [[m.body for m in held], [m.body for m in fast.must_have(3)]] == [bodies[:1], bodies[1:]]


@pytest.mark.normative("amqp-0-9-1:basic.qos.prefetch-count/01")
def test_prefetch_of_zero_means_no_limit(wire):
    queue = wire.queue()
    bodies = fill(wire, queue, 50)
    wire.call("basic.qos", prefetch_count=0)
    wire.consume(queue)
    assert [message.body for message in wire.must_take(50)] == bodies


@pytest.mark.normative("amqp-0-9-1:basic.qos.prefetch-count/01")
def test_no_ack_consumer_is_not_limited(wire):
    queue = wire.queue()
    bodies = fill(wire, queue, 5)
    wire.consume(queue, prefetch=1, no_ack=True)
    assert [message.body for message in wire.must_take(5)] == bodies


@pytest.mark.normative("amqp-0-9-1:basic.qos.prefetch-count/01")
@pytest.mark.parametrize("settle", ["basic.reject", "basic.nack"])
def test_refusing_a_message_opens_the_window_too(wire, settle):
    queue = wire.queue()
    fill(wire, queue, 3)
    wire.consume(queue, prefetch=1)
    first = wire.receive()
    wire.send(settle, delivery_tag=first.delivery_tag, requeue=False)
    assert len(wire.must_have(1)) == 1
