"""AMQP 0-9-1 section 3.1.3.4: the headers exchange."""

import pytest
from mqproof.harness.verdicts import Untested

ALL = {"x-match": "all", "level": "error", "source": "disk"}
ANY = {"x-match": "any", "level": "error", "source": "disk"}


def routed(amqp, arguments, headers):
    """Bind with these arguments, publish with these headers; return whether the message came through."""
    exchange = amqp.exchange("headers")
    queue = amqp.queue(exchange=exchange, bind_arguments=arguments)
    amqp.publish(exchange, headers=headers)
    return bool(amqp.drain(queue))


@pytest.mark.normative("amqp-0-9-1:3.1.3.4/all")
@pytest.mark.parametrize(
    ("headers", "reaches"),
    [
        ({"level": "error", "source": "disk"}, True),
        ({"level": "error", "source": "disk", "more": 1}, True),
        ({"level": "error"}, False),
        ({"level": "error", "source": "net"}, False),
        ({"source": "disk"}, False),
        ({}, False),
    ],
)
def test_x_match_all_asks_for_every_argument(amqp, headers, reaches):
    assert routed(amqp, ALL, headers) == reaches


@pytest.mark.normative("amqp-0-9-1:3.1.3.4/any")
@pytest.mark.parametrize(
    ("headers", "reaches"),
    [
        ({"level": "error", "source": "disk"}, True),
        ({"level": "error"}, True),
        ({"level": "info", "source": "disk"}, True),
        ({"level": "info", "source": "net"}, False),
        ({"other": "error"}, False),
        ({}, False),
    ],
)
def test_x_match_any_asks_for_one_argument(amqp, headers, reaches):
    assert routed(amqp, ANY, headers) == reaches


@pytest.mark.normative("amqp-0-9-1:3.1.3.4/all")
@pytest.mark.parametrize(("sent", "reaches"), [(1, True), (2, False), ("1", False)])
def test_header_values_are_compared_with_their_type(amqp, sent, reaches):
    assert routed(amqp, {"x-match": "all", "number": 1}, {"number": sent}) == reaches


@pytest.mark.normative("amqp-0-9-1:3.1.3.4/presence")
@pytest.mark.parametrize("match", ["all", "any"])
@pytest.mark.parametrize(("headers", "reaches"), [({"level": "error"}, True), ({"other": 1}, False)])
def test_argument_without_a_value_asks_for_the_header_only(amqp, match, headers, reaches):
    assert routed(amqp, {"x-match": match, "level": None}, headers) == reaches


@pytest.mark.normative("amqp-0-9-1:3.1.3.4/x-ignored")
@pytest.mark.parametrize(
    ("match", "headers", "reaches"),
    [("all", {"level": "error"}, True), ("any", {"x-more": "y"}, False), ("any", {"level": "error"}, True)],
)
def test_arguments_that_begin_with_x_take_no_part(amqp, match, headers, reaches):
    assert routed(amqp, {"x-match": match, "level": "error", "x-more": "y"}, headers) == reaches


@pytest.mark.normative("amqp-0-9-1:3.1.3.4/key-unused")
@pytest.mark.parametrize(("headers", "reaches"), [({"level": "error"}, True), ({"level": "info"}, False)])
def test_routing_key_plays_no_part_in_a_headers_exchange(amqp, headers, reaches):
    exchange = amqp.exchange("headers")
    queue = amqp.queue("binding.key", exchange=exchange, bind_arguments={"x-match": "all", "level": "error"})
    bodies = [amqp.publish(exchange, key, headers=headers) for key in ("binding.key", "another", "")]
    assert amqp.drain(queue) == (bodies if reaches else [])


@pytest.mark.normative("amqp-0-9-1:3.1.3.4/all", "amqp-0-9-1:3.1.3.4/any")
def test_headers_exchange_serves_several_bindings(amqp):
    exchange = amqp.exchange("headers")
    both, either = amqp.queue(exchange=exchange, bind_arguments=ALL), amqp.queue(exchange=exchange, bind_arguments=ANY)
    first = amqp.publish(exchange, headers={"level": "error", "source": "disk"})
    second = amqp.publish(exchange, headers={"level": "error", "source": "net"})
    assert [amqp.drain(both), amqp.drain(either)] == [[first], [first, second]]


@pytest.mark.normative("amqp-0-9-1:3.1.3.4/amq.match", "amqp-0-9-1:exchange/required-instances")
@pytest.mark.parametrize(
    "exchange",
    [
        pytest.param("amq.match", marks=pytest.mark.normative("amqp-0-9-1:3.1.3.4/amq.match")),
        pytest.param("amq.headers", marks=pytest.mark.normative("amqp-0-9-1:exchange/required-instances")),
    ],
)
def test_standard_headers_exchange_is_there_and_routes_by_headers(wire, exchange):
    """amq.headers is the name by the rule of the XML; a broker that has amq.match alone keeps the prose."""
    wire.send("exchange.declare", exchange=exchange, type="headers", passive=True)
    if exchange == "amq.headers" and wire.expect("exchange.declare-ok", "channel.close").name == "channel.close":
        raise Untested("there is no amq.headers: whether the type has an instance at all, another test tells")
    if exchange == "amq.match":
        wire.must_receive("exchange.declare-ok")
    header = wire.things.absent("header")
    queue = wire.queue(exchange=exchange, bind_arguments={"x-match": "all", header: "yes"})
    body = wire.publish(exchange, headers={header: "yes"})
    wire.publish(exchange, headers={header: "no"})
    assert wire.drain(queue) == [body]


@pytest.mark.normative("amqp-0-9-1:3.1.3.4/offered")
def test_headers_exchange_type_is_offered(wire):
    wire.send("exchange.declare", exchange=wire.things.exchange(), type="headers")
    wire.must_receive("exchange.declare-ok")
