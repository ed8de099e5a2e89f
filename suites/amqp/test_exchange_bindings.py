"""AMQP 0-9-1 class exchange: bind and unbind, from exchange to exchange."""

from itertools import pairwise

import pytest
from mqproof.harness.verdicts import Untested, check
from mqproof.harness.wires.amqp_message import tell

pytestmark = pytest.mark.needs("exchange_exchange_bindings")

BIND = "amqp-0-9-1:exchange.bind"
UNBIND = "amqp-0-9-1:exchange.unbind"
REFUSED = (403, 404, 405, 406, 503, 504, 505, 530, 540)
LOCKED = 403  # rule exchange/default-access keeps clients from the default exchange but for queue.bind and publish


def chain(wire, *types):
    """Declare exchanges, each bound to the one before it by the key ``k``; return their names."""
    names = [wire.exchange(type_) for type_ in types]
    for source, destination in pairwise(names):
        wire.link(source, destination, "k")
    return names


@pytest.mark.normative("amqp-0-9-1:exchange-to-exchange/01")
@pytest.mark.parametrize("types", [("direct", "fanout"), ("topic", "direct", "fanout"), ("fanout", "topic")], ids=str)
def test_message_reaches_the_queues_of_the_destination(wire, types):
    first, *_, last = chain(wire, *types)
    queue = wire.queue("k", exchange=last)
    body = wire.publish(first, "k")
    assert wire.drain(queue, exchange=last) == [body]


@pytest.mark.normative("amqp-0-9-1:exchange-to-exchange/01")
def test_message_that_the_binding_does_not_match_stays_away(wire):
    source, destination = chain(wire, "direct", "fanout")
    queue = wire.queue(exchange=destination)
    wire.publish(source, "other")
    assert wire.drain(queue) == []


@pytest.mark.normative(f"{BIND}/duplicates")
def test_repeated_exchange_binding_is_harmless(wire):
    source, destination = chain(wire, "direct", "fanout")
    queue = wire.queue(exchange=destination)
    wire.send("exchange.bind", source=source, destination=destination, routing_key="k")
    wire.must_receive("exchange.bind-ok")
    body = wire.publish(source, "k")
    assert wire.drain(queue) == [body]


@pytest.mark.normative(f"{BIND}/cyclical", f"{BIND}/unique", "amqp-0-9-1:exchange-to-exchange/02")
@pytest.mark.parametrize("length", [1, 2, 4], ids=["itself", "two", "four"])
def test_cycle_of_exchanges_delivers_one_copy(wire, length):
    names = [wire.exchange("fanout") for _ in range(length)]
    for source, destination in zip(names, names[1:] + names[:1], strict=True):
        wire.send("exchange.bind", source=source, destination=destination)
        wire.must_receive("exchange.bind-ok")
    queue = wire.queue(exchange=names[-1])
    body = wire.publish(names[0])
    assert wire.drain(queue, exchange=names[-1]) == [body]


@pytest.mark.normative(f"{BIND}/unique")
def test_several_paths_deliver_one_copy(wire):
    start, left, right, end = (wire.exchange("fanout") for _ in range(4))
    for source, destination in [(start, left), (start, right), (left, end), (right, end), (start, end)]:
        wire.link(source, destination)
    queue = wire.queue(exchange=end)
    body = wire.publish(start)
    assert wire.drain(queue, exchange=end) == [body]


@pytest.mark.normative("amqp-0-9-1:exchange-to-exchange/03")
def test_exchange_binding_ends_with_unbind(wire):
    source, destination = chain(wire, "direct", "fanout")
    queue = wire.queue(exchange=destination)
    wire.unlink(source, destination, "k")
    wire.publish(source, "k")
    assert wire.drain(queue) == []


@pytest.mark.normative("amqp-0-9-1:exchange-to-exchange/03")
@pytest.mark.parametrize("gone", [0, 1], ids=["source", "destination"])
def test_deleting_either_exchange_removes_the_binding(wire, gone):
    names = chain(wire, "direct", "fanout")
    wire.call("exchange.delete", exchange=names[gone])
    wire.exchange(("direct", "fanout")[gone], name=names[gone])
    queue = wire.queue(exchange=names[1])
    wire.publish(names[0], "k")
    assert wire.drain(queue) == []


@pytest.mark.normative(
    f"{BIND}.source/exchange-existence",
    f"{BIND}.destination/exchange-existence",
    "amqp-0-9-1:exchange-to-exchange/04",
)
@pytest.mark.parametrize("missing", ["source", "destination"])
def test_exchange_binding_to_or_from_a_missing_exchange_gives_404(wire, missing):
    names = {"source": "amq.direct", "destination": "amq.fanout"} | {missing: wire.things.absent()}
    wire.send("exchange.bind", **names)
    wire.must_refuse(404, fenced=False)


def bound_to_the_default(wire, **binding):
    """Bind to or from the default exchange; return whether the broker did, rather than lock it."""
    wire.send("exchange.bind", **binding)
    reaction = wire.must_receive("exchange.bind-ok", "channel.close")
    is_bound = reaction.name == "exchange.bind-ok"
    is_locked = reaction.arguments.get("reply_code") == LOCKED
    check(is_bound or is_locked, expected="exchange.bind-ok or channel.close 403", actual=tell(reaction))
    return is_bound


@pytest.mark.normative(f"{BIND}.destination/default-exchange")
def test_empty_destination_means_the_default_exchange(wire):
    source, queue = wire.exchange("fanout"), wire.queue()
    if not bound_to_the_default(wire, source=source, destination=""):
        return
    body = wire.publish(source, queue)
    assert wire.drain(queue) == [body]


@pytest.mark.normative(f"{BIND}.source/default-exchange")
def test_empty_source_means_the_default_exchange(wire):
    destination, key = wire.exchange("fanout"), wire.things.absent("key")
    queue = wire.queue(exchange=destination)
    if not bound_to_the_default(wire, source="", destination=destination, routing_key=key):
        return
    body = wire.publish("", key)
    assert wire.drain(queue) == [body]


@pytest.mark.normative(f"{UNBIND}.destination/default-exchange", f"{UNBIND}.source/default-exchange")
@pytest.mark.parametrize("side", ["destination", "source"])
def test_empty_name_in_exchange_unbind_means_the_default_exchange(wire, side):
    """Where the broker has refused the binding there is none to remove: 404, or 403 as for the binding."""
    other = {"destination": "source", "source": "destination"}[side]
    binding = {side: "", other: wire.exchange("fanout"), "routing_key": wire.things.absent("key")}
    wire.send("exchange.bind", **binding)
    is_bound = wire.expect("exchange.bind-ok", "channel.close").name == "exchange.bind-ok"
    if not is_bound:
        wire.send("channel.close-ok")
        wire.open_channel()
    wire.send("exchange.unbind", **binding)
    reaction = wire.expect("exchange.unbind-ok", "channel.close", "connection.close")
    is_refused = not is_bound and reaction.arguments.get("reply_code") in (404, LOCKED)
    check(reaction.name == "exchange.unbind-ok" or is_refused, expected="exchange.unbind-ok", actual=tell(reaction))


@pytest.mark.needs("default_exchange_lock")
@pytest.mark.normative("amqp-0-9-1:exchange-to-exchange/05")
@pytest.mark.parametrize("side", ["destination", "source"])
def test_exchange_binding_to_or_from_the_default_exchange_gives_403(wire, side):
    wire.send("exchange.bind", **({"source": "amq.direct", "destination": "amq.fanout"} | {side: ""}))
    wire.must_refuse(403, fenced=False)


@pytest.mark.normative(f"{UNBIND}.source/must-exist", f"{UNBIND}.destination/must-exist")
@pytest.mark.parametrize("missing", ["source", "destination"])
def test_unbinding_a_missing_exchange_gives_404(wire, missing):
    names = {"source": "amq.direct", "destination": "amq.fanout"} | {missing: wire.things.absent()}
    wire.send("exchange.unbind", **names)
    wire.must_refuse(404, fenced=False)


@pytest.mark.normative(f"{UNBIND}/01")
@pytest.mark.parametrize("source", ["missing", "default"])
def test_exchange_unbind_that_fails_is_an_exception(wire, source):
    """What fails is the broker's to say. The rule asks for a connection exception and names no code."""
    name = wire.things.absent() if source == "missing" else ""
    wire.send("exchange.unbind", source=name, destination=wire.exchange("fanout"), routing_key="k")
    reaction = wire.must_receive("exchange.unbind-ok", "channel.close", "connection.close")
    if reaction.name == "exchange.unbind-ok":
        raise Untested("to remove what is not there is no failure for this broker")
    is_exception = reaction.arguments["reply_code"] in REFUSED
    check(is_exception, expected=f"a close with one of {REFUSED}", actual=tell(reaction))


@pytest.mark.needs("idempotent_unbind")
@pytest.mark.normative("amqp-0-9-1:idempotent-unbind/01")
@pytest.mark.parametrize("missing", ["binding", "source", "destination"])
def test_unbind_of_a_missing_exchange_binding_is_answered_by_ok(wire, missing):
    names = {"source": wire.exchange("direct"), "destination": wire.exchange("fanout"), "routing_key": "k"}
    wire.send("exchange.unbind", **names | ({} if missing == "binding" else {missing: wire.things.absent()}))
    wire.must_receive("exchange.unbind-ok")
