"""Ten conversations that any broker holds, whichever single promise it breaks: they prove that it lives at all."""

import pytest

pytestmark = pytest.mark.sanity


@pytest.mark.normative("amqp-0-9-1:2.3.3/header-first")
def test_broker_opens_a_connection_and_a_channel(wires):
    start = wires.raw().greet().arguments
    assert (start["version_major"], start["version_minor"]) == (0, 9)
    wires().must_accept()


@pytest.mark.normative("amqp-0-9-1:2.3.7/close-handshake")
def test_broker_answers_the_close_of_a_channel(wire):
    wire.send("channel.close", reply_code=200, reply_text="done")
    wire.must_receive("channel.close-ok", channel=1)


@pytest.mark.normative("amqp-0-9-1:2.3.7/close-handshake")
def test_broker_answers_the_close_of_a_connection(wire):
    wire.send("connection.close", channel=0, reply_code=200, reply_text="done")
    wire.must_receive("connection.close-ok", channel=0)


@pytest.mark.normative("amqp-0-9-1:queue.declare.exclusive/types")
def test_broker_declares_a_queue(wire):
    queue = wire.things.queue(remove=False)
    wire.send("queue.declare", queue=queue, exclusive=True)
    wire.must_receive("queue.declare-ok", queue=queue)


@pytest.mark.normative("amqp-0-9-1:exchange/required-types")
def test_broker_declares_an_exchange(wire):
    wire.send("exchange.declare", exchange=wire.things.exchange(), type="direct")
    wire.must_receive("exchange.declare-ok")


@pytest.mark.normative("amqp-0-9-1:3.1.1/body-unmodified")
def test_broker_stores_a_message_and_hands_it_out(wire):
    queue = wire.queue()
    body = wire.publish("", queue, content_type="text/plain")
    assert [message.body for message in [wire.get(queue)] if message] == [body]


@pytest.mark.normative("amqp-0-9-1:3.1.3.2/match")
def test_broker_routes_a_message_by_fanout(wire):
    exchange = wire.exchange("fanout")
    queue = wire.queue(exchange=exchange)
    body = wire.publish(exchange, "any.key")
    assert [message.body for message in [wire.get(queue)] if message] == [body]


@pytest.mark.normative("amqp-0-9-1:3.1.4/fifo-one-consumer")
def test_broker_delivers_three_messages_in_order(wire):
    queue = wire.queue()
    bodies = [wire.publish("", queue) for _ in range(3)]
    wire.consume(queue, no_ack=True)
    assert [message.body for message in wire.must_take(3)] == bodies


@pytest.mark.normative("amqp-0-9-1:3.1.7/prefetch")
def test_broker_takes_an_acknowledgement(wire):
    queue = wire.queue()
    bodies = [wire.publish("", queue) for _ in range(2)]
    wire.consume(queue, prefetch=1)
    first = wire.must_take(1)
    wire.ack(first[0].delivery_tag)
    assert {message.body for message in first + wire.must_take(1)} == set(bodies)


@pytest.mark.normative("amqp-0-9-1:queue.delete.queue/must-exist")
def test_broker_deletes_a_queue(wire):
    queue = wire.queue()
    wire.publish("", queue)
    assert wire.call("queue.delete", queue=queue).arguments["message_count"] == 1
