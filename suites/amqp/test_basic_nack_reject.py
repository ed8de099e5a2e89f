"""AMQP 0-9-1 basic.reject, and basic.nack of the extensions: refusing messages."""

import pytest


def nack(wire, tag, *, requeue, multiple=False):
    wire.send("basic.nack", delivery_tag=tag, requeue=requeue, multiple=multiple)


def reject(wire, tag, *, requeue):
    wire.send("basic.reject", delivery_tag=tag, requeue=requeue)


REFUSALS = pytest.mark.parametrize("refuse", [pytest.param(nack, marks=pytest.mark.needs("basic.nack")), reject])


@pytest.mark.normative("amqp-0-9-1:negative-acks/01")
@REFUSALS
def test_refused_message_comes_back_redelivered(wire, refuse):
    queue = wire.queue()
    body = wire.publish("", queue)
    message = wire.get(queue, no_ack=False)
    refuse(wire, message.delivery_tag, requeue=True)
    wire.fence()
    assert [(again.body, again.redelivered) for again in wire.drained(queue)] == [(body, True)]


@pytest.mark.normative("amqp-0-9-1:negative-acks/03")
@REFUSALS
def test_message_refused_for_good_is_gone(wire, refuse):
    queue = wire.queue()
    bodies = [wire.publish("", queue) for _ in range(2)]
    refuse(wire, wire.get(queue, no_ack=False).delivery_tag, requeue=False)
    wire.close_channel()
    wire.open_channel()
    assert wire.drain(queue) == bodies[1:]


@pytest.mark.needs("basic.nack")
@pytest.mark.normative("amqp-0-9-1:negative-acks/02")
def test_multiple_nack_requeues_all_up_to_its_tag(wire):
    queue = wire.queue()
    bodies = [wire.publish("", queue) for _ in range(4)]
    wire.consume(queue, consumer_tag="worker")
    tag = wire.take(4)[2].delivery_tag
    wire.call("basic.cancel", consumer_tag="worker")
    nack(wire, tag, requeue=True, multiple=True)
    wire.fence()
    assert wire.drain(queue) == bodies[:3]  # the fourth is still unacknowledged


@pytest.mark.needs("basic.nack")
@pytest.mark.normative("amqp-0-9-1:negative-acks/03")
def test_multiple_nack_of_tag_zero_settles_everything(wire):
    queue = wire.queue()
    for _ in range(3):
        wire.publish("", queue)
    wire.consume(queue)
    wire.take(3)
    nack(wire, 0, requeue=False, multiple=True)
    wire.close_channel()
    wire.open_channel()
    assert wire.drain(queue) == []


@pytest.mark.normative("amqp-0-9-1:basic.reject.requeue/01")
def test_rejected_message_is_not_given_to_the_same_client_again(wire):
    """The broker may give it to another consumer, hold it back or dead-letter it, but not send it back at once."""
    queue = wire.queue()
    wire.publish("", queue)
    wire.consume(queue)
    reject(wire, wire.receive().delivery_tag, requeue=True)
    assert wire.deliveries() == []


@pytest.mark.needs("basic.nack")
@pytest.mark.normative("amqp-0-9-1:basic.nack.requeue/01")
def test_nacked_message_is_not_given_to_the_same_client_again(wire):
    queue = wire.queue()
    wire.publish("", queue)
    wire.consume(queue)
    nack(wire, wire.receive().delivery_tag, requeue=True)
    assert wire.deliveries() == []


@pytest.mark.normative("amqp-0-9-1:domain.redelivered/implementation")
@REFUSALS
def test_refused_message_goes_to_another_consumer(amqp, wires, refuse):
    queue = amqp.queue(shared=True)
    bodies = [amqp.publish("", queue) for _ in range(2)]
    first, second = wires(), wires()
    first.consume(queue, consumer_tag="first")
    message = first.take(2)[0]
    first.call("basic.cancel", consumer_tag="first")
    second.consume(queue)
    refuse(first, message.delivery_tag, requeue=True)
    (again,) = second.must_take(1)
    assert (again.body, again.redelivered) == (bodies[0], True)


@pytest.mark.normative("amqp-0-9-1:basic.ack.multiple/exists")
@pytest.mark.parametrize("tag", [1, 7])
def test_ack_of_an_unknown_tag_closes_the_channel_with_406(wire, tag):
    wire.ack(tag)
    wire.must_refuse(406)


@pytest.mark.normative("amqp-0-9-1:basic.ack.multiple/exists")
def test_second_ack_closes_the_channel_with_406(wire):
    queue = wire.queue()
    wire.publish("", queue)
    tag = wire.get(queue, no_ack=False).delivery_tag
    wire.ack(tag)
    wire.ack(tag)
    wire.must_refuse(406)


@pytest.mark.needs("basic.nack")
@pytest.mark.normative("amqp-0-9-1:basic.nack.multiple/exists", "amqp-0-9-1:negative-acks/04")
@pytest.mark.parametrize("settled", [False, True], ids=["unknown", "settled"])
def test_nack_of_an_unknown_or_settled_tag_closes_the_channel_with_406(wire, settled):
    queue = wire.queue()
    wire.publish("", queue)
    tag = wire.get(queue, no_ack=False).delivery_tag
    if settled:
        nack(wire, tag, requeue=False)
    nack(wire, tag + (not settled), requeue=False)
    wire.must_refuse(406)


@pytest.mark.normative("amqp-0-9-1:basic.ack.multiple/exists")
def test_unknown_ack_inside_a_transaction_is_refused_at_once(wire):
    wire.call("tx.select")
    wire.ack(9)
    wire.must_refuse(406)


@pytest.mark.normative("amqp-0-9-1:domain.delivery-tag/channel-local")
def test_delivery_is_settled_on_its_own_channel_only(wire):
    queue = wire.queue()
    wire.publish("", queue)
    tag = wire.get(queue, no_ack=False).delivery_tag
    wire.open_channel(2)
    wire.ack(tag, channel=2)
    wire.must_refuse(406, channel=2)


@pytest.mark.normative("amqp-0-9-1:domain.delivery-tag/non-zero")
def test_delivery_tags_begin_above_zero(wire):
    queue = wire.queue()
    for _ in range(3):
        wire.publish("", queue)
    got = wire.get(queue, no_ack=False)
    wire.consume(queue)
    tags = [got.delivery_tag, *(message.delivery_tag for message in wire.take(2))]
    assert 0 not in tags
