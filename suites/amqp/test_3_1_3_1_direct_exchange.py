"""AMQP 0-9-1 section 3.1.3.1: the direct exchange, and the default exchange, which is one."""

import pytest


@pytest.mark.normative(
    "amqp-0-9-1:3.1.3.1/match", "amqp-0-9-1:queue.bind.routing-key/direct-exchange-key-matching"
)
@pytest.mark.parametrize(
    ("binding", "key", "reaches"),
    [
        ("error", "error", True),
        ("error", "warning", False),
        ("error", "Error", False),  # keys are compared octet by octet
        ("error", "error.disk", False),  # words are for topic exchanges
        ("user.*", "user.error", False),  # and so are wildcards
        ("user.*", "user.*", True),
        ("#", "anything", False),
        ("", "", True),
        ("", "error", False),
    ],
)
def test_direct_exchange_routes_when_keys_are_equal(amqp, binding, key, reaches):
    queue = amqp.queue(binding, exchange=amqp.exchange("direct"))
    body = amqp.publish(amqp.things.exchanges[0], key)
    assert amqp.drain(queue) == ([body] if reaches else [])


@pytest.mark.normative("amqp-0-9-1:3.1.3.1/match")
def test_errors_warnings_and_infos_each_go_to_their_own_queue(amqp):
    """One exchange, three bindings, three workers: each log level reaches its own worker and no other."""
    logs = amqp.exchange("direct")
    queues = {level: amqp.queue(level, exchange=logs) for level in ("error", "warning", "info")}
    sent = [(level, amqp.publish(logs, level)) for level in ("info", "error", "warning", "info", "error", "debug")]
    got = {level: amqp.drain(queue) for level, queue in queues.items()}
    assert got == {level: [body for key, body in sent if key == level] for level in queues}


@pytest.mark.normative("amqp-0-9-1:3.1.3.1/match")
def test_direct_exchange_copies_to_every_queue_with_the_key(amqp):
    exchange = amqp.exchange("direct")
    first, second = amqp.queue("k", exchange=exchange), amqp.queue("k", exchange=exchange)
    body = amqp.publish(exchange, "k")
    assert [amqp.drain(first), amqp.drain(second)] == [[body], [body]]


@pytest.mark.normative("amqp-0-9-1:3.1.3.1/amq.direct")
def test_amq_direct_is_there_and_routes_by_key(wire):
    wire.send("exchange.declare", exchange="amq.direct", type="direct", passive=True)
    wire.must_receive("exchange.declare-ok")
    key = wire.things.absent("key")
    queue = wire.queue(key, exchange="amq.direct")
    body = wire.publish("amq.direct", key)
    wire.publish("amq.direct", f"{key}.other")
    assert wire.drain(queue) == [body]


@pytest.mark.normative(
    "amqp-0-9-1:3.1.3.1/default-exchange",
    "amqp-0-9-1:queue.declare/default-binding",
    "amqp-0-9-1:basic.publish.exchange/default-exchange",
    "amqp-0-9-1:exchange/default-exchange",
)
def test_default_exchange_routes_to_the_queue_of_that_name(amqp):
    queues = [amqp.queue() for _ in range(3)]
    bodies = [[amqp.publish("", queue)] for queue in queues]
    fanout = amqp.exchange("fanout")  # the fences take another way: what the default exchange does is examined
    assert [amqp.drain(queue, exchange=fanout) for queue in queues] == bodies
