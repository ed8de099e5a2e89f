"""AMQP 0-9-1 section 3.1.3.2: the fanout exchange."""

import pytest


@pytest.mark.normative("amqp-0-9-1:3.1.3.2/match")
@pytest.mark.parametrize("key", ["", "any", "a.b.c", "#"])
def test_fanout_exchange_ignores_the_routing_key(amqp, key):
    exchange = amqp.exchange("fanout")
    queues = [amqp.queue(binding, exchange=exchange) for binding in ("", "other", "a.*")]
    body = amqp.publish(exchange, key)
    assert [amqp.drain(queue) for queue in queues] == [[body]] * 3


@pytest.mark.normative("amqp-0-9-1:3.1.3.2/match")
def test_fanout_exchange_reaches_bound_queues_only(amqp):
    exchange = amqp.exchange("fanout")
    bound, left, stranger = amqp.queue(exchange=exchange), amqp.queue(exchange=exchange), amqp.queue()
    amqp.unbind(left, exchange)
    body = amqp.publish(exchange)
    assert [amqp.drain(bound), amqp.drain(left, exchange=""), amqp.drain(stranger)] == [[body], [], []]


@pytest.mark.normative("amqp-0-9-1:3.1.3.2/amq.fanout")
def test_amq_fanout_is_there_and_reaches_every_queue(wire):
    wire.send("exchange.declare", exchange="amq.fanout", type="fanout", passive=True)
    wire.must_receive("exchange.declare-ok")
    queues = [wire.queue(exchange="amq.fanout"), wire.queue("ignored", exchange="amq.fanout")]
    body = wire.publish("amq.fanout", "whatever")
    assert [wire.drain(queue) for queue in queues] == [[body]] * 2
