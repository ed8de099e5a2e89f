"""AMQP 0-9-1 class queue: bind and unbind, and section 3.1.5."""

import pytest
from mqproof.harness.verdicts import Untested, check
from mqproof.harness.wires.amqp_message import tell

BIND = "amqp-0-9-1:queue.bind"
UNBIND = "amqp-0-9-1:queue.unbind"
LOCKED = (403, 530)
REFUSED = (402, 403, 404, 405, 406, 501, 502, 503, 504, 505, 530, 540)
KNOWN = [f"{BIND}.queue/queue-known", f"{UNBIND}.queue/queue-known"]


@pytest.mark.normative(f"{BIND}/duplicates")
def test_repeated_queue_binding_is_harmless(wire):
    exchange = wire.exchange("direct")
    queue = wire.queue("k", exchange=exchange)
    wire.send("queue.bind", queue=queue, exchange=exchange, routing_key="k")
    wire.must_receive("queue.bind-ok")
    body = wire.publish(exchange, "k")
    assert wire.drain(queue) == [body]


@pytest.mark.normative(f"{BIND}/duplicates")
def test_binding_made_twice_is_removed_by_one_unbind(wire):
    exchange = wire.exchange("direct")
    queue = wire.queue("k", "k", exchange=exchange)
    wire.unbind(queue, exchange, "k")
    wire.publish(exchange, "k")
    assert wire.drain(queue) == []


@pytest.mark.normative(f"{BIND}/unique", "amqp-0-9-1:3.1.5/multiple-bindings-one-copy")
@pytest.mark.parametrize("patterns", [("a.*", "*.b", "#"), ("a.b", "a.#", "#.b", "#")])
def test_queue_gets_one_copy_however_many_bindings_match(wire, patterns):
    exchange = wire.exchange("topic")
    queue = wire.queue(*patterns, exchange=exchange)
    body = wire.publish(exchange, "a.b")
    assert wire.drain(queue) == [body]


@pytest.mark.normative("amqp-0-9-1:3.1.5/multiple-bindings-one-copy", f"{BIND}/unique")
@pytest.mark.parametrize("type_", ["direct", "fanout", "headers"])
def test_bindings_that_differ_in_arguments_or_keys_give_one_copy(wire, type_):
    exchange = wire.exchange(type_)
    queue = wire.queue()
    keys = ("k", "k") if type_ == "direct" else ("k", "l")
    for number, key in enumerate(keys):
        wire.bind(queue, exchange, key, {"x-match": "any", "h": 1, "other": number} if type_ == "headers" else None)
    body = wire.publish(exchange, "k", headers={"h": 1})
    assert wire.drain(queue) == [body]


@pytest.mark.normative(f"{BIND}/transient-exchange")
def test_durable_queue_may_be_bound_to_a_transient_exchange(wire):
    exchange, queue = wire.exchange("direct"), wire.queue(shared=True)
    wire.send("queue.bind", queue=queue, exchange=exchange, routing_key="k")
    wire.must_receive("queue.bind-ok")
    body = wire.publish(exchange, "k")
    assert wire.drain(queue, exchange=exchange) == [body]


@pytest.mark.normative(f"{BIND}/binding-count")
def test_queue_takes_many_bindings(wire):
    """Four are advised; sixteen are tried once those four work."""
    exchange, queue = wire.exchange("direct"), wire.queue()
    for number in range(16):
        wire.send("queue.bind", queue=queue, exchange=exchange, routing_key=f"k{number}")
        wire.must_receive("queue.bind-ok")
    wire.things.routes[queue] = exchange
    bodies = [wire.publish(exchange, f"k{number}") for number in range(16)]
    assert wire.drain(queue) == bodies


@pytest.mark.normative(f"{BIND}.queue/queue-known")
def test_bind_without_a_name_needs_an_earlier_declare(wire):
    """404 by the method, 502 by the queue-name domain."""
    wire.send("queue.bind", queue="", exchange="amq.direct", routing_key="k")
    wire.must_refuse(404, 502, fenced=False)


@pytest.mark.normative(f"{BIND}.queue/queue-known")
def test_bind_without_a_name_means_the_queue_declared_last(wire):
    exchange, other, queue = wire.exchange("direct"), wire.queue(), wire.queue()
    wire.send("queue.bind", queue="", exchange=exchange, routing_key="k")
    wire.must_receive("queue.bind-ok")
    body = wire.publish(exchange, "k")
    assert [wire.drain(other), wire.drain(queue, exchange=exchange)] == [[], [body]]


@pytest.mark.normative(f"{BIND}.queue/must-exist")
def test_bind_of_a_missing_queue_gives_404(wire):
    wire.send("queue.bind", queue=wire.things.absent(), exchange="amq.direct", routing_key="k")
    wire.must_refuse(404, fenced=False)


@pytest.mark.normative(f"{BIND}.exchange/exchange-existence")
def test_bind_to_a_missing_exchange_gives_404(wire):
    wire.send("queue.bind", queue=wire.queue(), exchange=wire.things.absent(), routing_key="k")
    wire.must_refuse(404, fenced=False)


@pytest.mark.normative(f"{BIND}.exchange/default-exchange")
def test_empty_exchange_name_in_bind_means_the_default_exchange(wire):
    queue, key = wire.queue(), wire.things.absent("key")
    wire.send("queue.bind", queue=queue, exchange="", routing_key=key)
    wire.must_receive("queue.bind-ok")
    body = wire.publish("", key)
    assert wire.drain(queue) == [body]


@pytest.mark.normative(f"{UNBIND}.exchange/default-exchange")
def test_empty_exchange_name_in_unbind_means_the_default_exchange(wire):
    """The binding that each queue has from its declaration is one that can be named.

    To refuse is legal too: by exchange/default-access the default exchange is for bind and publish only. No code is
    named there; 404 would say that the empty name means no exchange.
    """
    queue = wire.queue()
    wire.send("queue.unbind", queue=queue, exchange="", routing_key=queue)
    reaction = wire.must_receive("queue.unbind-ok", "channel.close", "connection.close")
    is_locked = reaction.arguments.get("reply_code") in LOCKED
    is_legal = reaction.name == "queue.unbind-ok" or is_locked
    check(is_legal, expected="queue.unbind-ok or a close with 403 or 530", actual=tell(reaction))


@pytest.mark.normative(f"{UNBIND}/01")
@pytest.mark.parametrize("why", ["locked", "missing", "default"])
def test_queue_unbind_that_fails_is_an_exception(wire, wires, why):
    """What fails is the broker's to say. The rule asks for a connection exception and names no code."""
    exchange = wire.exchange("direct")
    queue = wires().queue("k", exchange=exchange) if why == "locked" else wire.things.absent()
    wire.send("queue.unbind", queue=queue, exchange="" if why == "default" else exchange, routing_key="k")
    reaction = wire.must_receive("queue.unbind-ok", "channel.close", "connection.close")
    if reaction.name == "queue.unbind-ok":
        raise Untested("this is no failure for the broker")
    is_exception = reaction.arguments["reply_code"] in REFUSED
    check(is_exception, expected=f"a close with one of {REFUSED}", actual=tell(reaction))


@pytest.mark.normative(f"{UNBIND}.queue/queue-known")
def test_unbind_without_a_name_needs_an_earlier_declare(wire):
    wire.send("queue.unbind", queue="", exchange="amq.direct", routing_key="k")
    wire.must_refuse(404, 502, fenced=False)


@pytest.mark.normative(f"{UNBIND}.queue/must-exist")
def test_unbind_of_a_missing_queue_gives_404(wire):
    wire.send("queue.unbind", queue=wire.things.absent(), exchange="amq.direct", routing_key="k")
    wire.must_refuse(404, fenced=False)


@pytest.mark.normative(f"{UNBIND}.exchange/must-exist")
def test_unbind_from_a_missing_exchange_gives_404(wire):
    wire.send("queue.unbind", queue=wire.queue(), exchange=wire.things.absent(), routing_key="k")
    wire.must_refuse(404, fenced=False)


@pytest.mark.needs("idempotent_unbind")
@pytest.mark.normative("amqp-0-9-1:idempotent-unbind/01")
@pytest.mark.parametrize("missing", ["binding", "queue", "exchange"])
def test_unbind_of_a_missing_queue_binding_is_answered_by_ok(wire, missing):
    names = {"queue": wire.queue(), "exchange": wire.exchange("direct"), "routing_key": "k"}
    wire.send("queue.unbind", **names | ({} if missing == "binding" else {missing: wire.things.absent()}))
    wire.must_receive("queue.unbind-ok")


@pytest.mark.normative("amqp-0-9-1:4.6/synchronous-effects")
def test_unbind_leaves_other_bindings_alone(wire):
    exchange = wire.exchange("direct")
    queue = wire.queue("stays", "goes", exchange=exchange)
    wire.unbind(queue, exchange, "goes")
    wire.publish(exchange, "goes")
    body = wire.publish(exchange, "stays")
    assert wire.drain(queue) == [body]
