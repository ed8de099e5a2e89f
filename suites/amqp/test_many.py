"""Sections 3.1, 4.2.6 and 4.3: many messages, frames, bindings, queues and channels at once."""

import pytest
from mqproof.dissectors.amqp.codec import Body, method
from mqproof.harness.verdicts import check

MANY = 120  # messages
FRAME_MAX = 8192  # octets: brokers take it that refuse the smaller ones which the specification allows
QUEUES = 24
BINDINGS = 80
CHANNELS = 48


@pytest.mark.normative("amqp-0-9-1:basic/10", "amqp-0-9-1:3.1.7/prefetch")
def test_multiple_ack_over_a_wide_range_opens_the_whole_window(wire):
    window = MANY // 3
    queue = wire.queue()
    bodies = filled(wire, queue)
    wire.consume(queue, prefetch=window)
    came = []
    for take in (wire.take, wire.must_take, wire.must_take):
        messages = take(window)
        came += [message.body for message in messages]
        wire.ack(messages[-1].delivery_tag, multiple=True)
    assert came == bodies


@pytest.mark.normative("amqp-0-9-1:4.5/unacked-redelivered", "amqp-0-9-1:3.1.8/explicit-ack")
def test_all_of_many_unacknowledged_messages_come_back(wire, wires):
    queue = wire.queue(shared=True)
    bodies = filled(wire, queue)
    worker = wires()
    worker.consume(queue)
    worker.take(MANY)
    worker.cut()
    wire.consume(queue)
    assert sorted(message.body for message in wire.must_take(MANY)) == sorted(bodies)


@pytest.mark.needs("basic.nack")
@pytest.mark.normative("amqp-0-9-1:negative-acks/02")
def test_multiple_nack_over_a_wide_range_requeues_everything(wire):
    queue = wire.queue()
    bodies = filled(wire, queue)
    wire.consume(queue, consumer_tag="worker")
    tag = wire.take(MANY)[-1].delivery_tag
    wire.call("basic.cancel", consumer_tag="worker")
    wire.send("basic.nack", delivery_tag=tag, requeue=True, multiple=True)
    wire.fence()
    wire.consume(queue)
    assert sorted(message.body for message in wire.must_take(MANY)) == sorted(bodies)


@pytest.mark.normative("amqp-0-9-1:4.2.6.2/split-body", "amqp-0-9-1:3.1.1/body-unmodified")
def test_body_of_many_frames_arrives_octet_by_octet(wires):
    wire = wires(frame_max=FRAME_MAX)
    body = (bytes(range(251)) * 4200)[: 1 << 20]
    queue = wire.queue()
    wire.publish("", queue, body)
    (got,) = wire.drain(queue)
    check(len(got) == len(body), expected=f"{len(body)} octets", actual=f"{len(got)} octets")
    differs = next((at for at in range(len(body)) if got[at] != body[at]), 0) if got != body else None
    check(differs is None, expected="the same octets", actual=f"others from octet {differs} on")


@pytest.mark.normative("amqp-0-9-1:3.1.3.2/match")
def test_fanout_exchange_reaches_each_of_many_queues(wire):
    exchange = wire.exchange("fanout")
    queues = [wire.queue(exchange=exchange) for _ in range(QUEUES)]
    wire.publish(exchange)
    assert [wire.ready(queue) for queue in queues] == [1] * QUEUES


@pytest.mark.normative("amqp-0-9-1:3.1.3.1/match", "amqp-0-9-1:3.1.5/multiple-bindings-one-copy")
def test_each_of_many_bindings_of_a_queue_counts(wire):
    exchange, queue = wire.exchange("direct"), wire.queue()
    for number in range(BINDINGS):
        wire.send("queue.bind", queue=queue, exchange=exchange, routing_key=f"k{number}", no_wait=True)
    wire.fence()
    bodies = [wire.send_content(exchange, f"k{number}") for number in range(BINDINGS)]
    wire.consume(queue)
    assert [message.body for message in [wire.receive(), *wire.must_have(BINDINGS - 1)]] == bodies


@pytest.mark.normative("amqp-0-9-1:4.3/many-channels", "amqp-0-9-1:4.2.6.2/split-body")
def test_contents_of_many_channels_may_be_interleaved(wire):
    queue = wire.queue()
    wire.consume(queue)
    wire.publish("", queue)
    wire.receive()  # one content alone arrives
    channels = range(2, min(CHANNELS, wire.publisher - 2) + 2)
    for channel in channels:
        wire.open_channel(channel)
    wire.send(*(method("basic.publish", channel, routing_key=queue) for channel in channels))
    wire.send(*(wire.header(6, channel=channel) for channel in channels))
    for half in (0, 3):
        wire.send(*(Body(channel, part(channel, half)) for channel in channels))
    came = sorted(message.body for message in wire.must_take(len(channels)))
    assert came == [b"%06d" % channel for channel in channels]


@pytest.mark.normative("amqp-0-9-1:tx.commit/transacted")
def test_commit_takes_effect_for_each_of_many_messages(wire):
    queue = wire.queue()
    wire.open_channel(2)
    wire.call("tx.select", channel=2)
    bodies = [wire.send_content("", queue, channel=2) for _ in range(MANY)]
    wire.call("tx.commit", channel=2)
    wire.consume(queue)
    assert [message.body for message in wire.must_take(MANY)] == bodies


def part(channel, start):
    """Return three of the six digits of a channel's number."""
    return (b"%06d" % channel)[start : start + 3]


def filled(wire, queue):
    """Publish many messages; return their bodies once the broker has read them all."""
    bodies = [wire.send_content("", queue) for _ in range(MANY)]
    wire.fence()
    return bodies
