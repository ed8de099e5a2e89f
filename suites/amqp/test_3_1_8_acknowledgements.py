"""AMQP 0-9-1 sections 3.1.8 and 4.5: acknowledgements, and what becomes of a dead worker's messages."""

import pytest
from mqproof.harness.verdicts import check
from mqproof.harness.wires.amqp import AmqpWire

DEATHS = {
    "channel closed": AmqpWire.close_channel,
    "connection closed": AmqpWire.close_connection,
    "socket closed": AmqpWire.close,
    "socket cut": AmqpWire.cut,
}


@pytest.mark.normative("amqp-0-9-1:3.1.8/explicit-ack")
def test_acknowledged_message_does_not_come_back(amqp):
    queue = amqp.queue()
    amqp.publish("", queue)
    worker = amqp.consume(queue)
    worker.ack(worker.next())
    worker.close()
    assert amqp.drain(queue) == []


@pytest.mark.normative(
    "amqp-0-9-1:3.1.8/explicit-ack",
    "amqp-0-9-1:4.5/unacked-redelivered",
    "amqp-0-9-1:domain.redelivered/implementation",
)
@pytest.mark.parametrize("death", DEATHS)
def test_messages_of_a_dead_worker_come_back_redelivered_and_in_order(amqp, wires, death):
    queue = amqp.queue(shared=True)
    bodies = [amqp.publish("", queue) for _ in range(3)]
    worker = wires()
    worker.consume(queue)
    worker.take(3)
    DEATHS[death](worker)
    again = amqp.consume(queue).must_take(3)
    came, flags = [message.body for message in again], [message.redelivered for message in again]
    check(sorted(came) == sorted(bodies), expected=bodies, actual=came)
    check(came == bodies, expected=bodies, actual=came, statement="amqp-0-9-1:4.5/unacked-redelivered")
    check(all(flags), expected=[True] * 3, actual=flags, statement="amqp-0-9-1:domain.redelivered/implementation")


@pytest.mark.normative("amqp-0-9-1:basic/10", "amqp-0-9-1:3.1.8/explicit-ack")
def test_only_the_unacknowledged_half_comes_back(amqp, wires):
    queue = amqp.queue(shared=True)
    bodies = [amqp.publish("", queue) for _ in range(6)]
    worker = wires()
    worker.consume(queue)
    for message in worker.take(6)[:3]:
        worker.ack(message.delivery_tag)
    worker.close_channel()
    assert amqp.drain(queue) == bodies[3:]


@pytest.mark.normative("amqp-0-9-1:4.5/unacked-redelivered", "amqp-0-9-1:4.7/order")
def test_returned_messages_take_their_place_before_later_ones(amqp, wires):
    queue = amqp.queue(shared=True)
    bodies = [amqp.publish("", queue) for _ in range(4)]
    worker = wires()
    worker.consume(queue, prefetch=2)
    worker.take(2)
    worker.close_channel()
    came = amqp.drain(queue)
    returned = "amqp-0-9-1:4.5/unacked-redelivered"
    check(sorted(came) == sorted(bodies), expected=bodies, actual=came, statement=returned)
    check(came == bodies, expected=bodies, actual=came)


@pytest.mark.normative("amqp-0-9-1:basic/10")
def test_multiple_ack_settles_all_up_to_its_tag(amqp, wire):
    queue = amqp.queue(shared=True)
    bodies = [amqp.publish("", queue) for _ in range(5)]
    wire.consume(queue)
    wire.ack(wire.take(5)[2].delivery_tag, multiple=True)
    wire.close_channel()
    assert amqp.drain(queue) == bodies[3:]


@pytest.mark.normative("amqp-0-9-1:basic/10", "amqp-0-9-1:3.1.8/explicit-ack")
def test_ack_of_one_message_settles_no_other(amqp, wire):
    queue = amqp.queue(shared=True)
    bodies = [amqp.publish("", queue) for _ in range(3)]
    wire.consume(queue)
    wire.take(3)
    wire.ack(2)
    wire.close_channel()
    assert amqp.drain(queue) == [bodies[0], bodies[2]]


@pytest.mark.normative("amqp-0-9-1:basic/10")
def test_multiple_ack_of_tag_zero_settles_everything(amqp, wire):
    queue = amqp.queue(shared=True)
    for _ in range(3):
        amqp.publish("", queue)
    wire.consume(queue)
    wire.take(3)
    wire.ack(0, multiple=True)
    wire.close_channel()
    assert amqp.drain(queue) == []


@pytest.mark.normative("amqp-0-9-1:basic/10")
def test_message_got_without_ack_comes_back_too(amqp, wires):
    queue = amqp.queue(shared=True)
    body = amqp.publish("", queue)
    worker = wires()
    worker.get(queue, no_ack=False)
    worker.close_channel()
    assert [(message.body, message.redelivered) for message in amqp.drained(queue)] == [(body, True)]


@pytest.mark.normative("amqp-0-9-1:3.1.8/auto-ack", "amqp-0-9-1:basic/09")
def test_delivery_to_a_no_ack_consumer_is_final(amqp, wires):
    queue = amqp.queue(shared=True)
    bodies = [amqp.publish("", queue) for _ in range(3)]
    worker = wires()
    worker.consume(queue, no_ack=True)
    got = [message.body for message in worker.must_take(3)]
    worker.close_channel()
    assert (got, amqp.drain(queue)) == (bodies, [])


@pytest.mark.normative("amqp-0-9-1:3.1.4/fifo-one-consumer", "amqp-0-9-1:4.7/order")
def test_one_consumer_receives_in_the_order_of_publishing(amqp):
    queue = amqp.queue()
    bodies = [amqp.publish("", queue) for _ in range(20)]
    assert [message.body for message in amqp.consume(queue).must_take(20)] == bodies


@pytest.mark.normative("amqp-0-9-1:3.1.8/explicit-ack")
def test_first_delivery_is_not_flagged_redelivered(amqp):
    queue = amqp.queue()
    amqp.publish("", queue)
    assert not amqp.consume(queue).next().redelivered
