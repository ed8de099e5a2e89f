"""AMQP 0-9-1 section 4.2.5.5: field tables, and the field types that the errata of the implementations list."""

from decimal import Decimal

import pytest
from mqproof.dissectors.amqp.codec import Field, RawFrame, encode, method
from mqproof.dissectors.amqp.tables import FrameType
from mqproof.harness.verdicts import check
from mqproof.harness.wires.base import End

VALUES = {
    "t": Field("t", True),
    "b": Field("b", -7),
    "B": Field("B", 200),
    "s": Field("s", -30000),
    "u": Field("u", 60000),
    "I": Field("I", -(2**31)),
    "i": Field("i", 2**32 - 1),
    "l": Field("l", -(2**63)),
    "f": Field("f", 1.5),
    "d": Field("d", 0.1),
    "D": Field("D", Decimal("-12.34")),
    "S": Field("S", "text"),
    "x": Field("x", b"\x00\xff"),
    "A": Field("A", [1, "two", None]),
    "T": Field("T", 1_700_000_000),
    "F": Field("F", {"inner": {"deep": [1, {"deeper": True}]}}),
    "V": Field("V", None),
}


def table_octets(wire, headers):
    """Publish with these headers and return the octets of the properties before and after the broker."""
    queue = wire.queue()
    wire.publish("", queue, headers=headers)
    (message,) = wire.drained(queue)
    sent, came = (encode(wire.header(0, headers=table)) for table in (headers, message.properties["headers"]))
    return sent, came


@pytest.mark.needs("field_types")
@pytest.mark.normative("amqp-0-9-1:field-types/01")
@pytest.mark.parametrize("letter", VALUES)
def test_field_type_comes_back_octet_by_octet(wire, letter):
    sent, came = table_octets(wire, {"field": VALUES[letter]})
    assert came == sent


@pytest.mark.normative("amqp-0-9-1:3.1.1/properties-kept")
@pytest.mark.parametrize("letter", ["S", "I", "D", "T", "F"])
def test_field_type_of_the_text_comes_back_octet_by_octet(wire, letter):
    """The five that versions 0-8 to 0-9-1 agree on."""
    sent, came = table_octets(wire, {"field": VALUES[letter]})
    assert came == sent


@pytest.mark.normative("amqp-0-9-1:3.1.1/properties-kept")
def test_large_table_comes_back_whole(wire):
    headers = {f"header-{number:03}": "x" * 100 for number in range(300)}
    sent, came = table_octets(wire, headers)
    assert len(came) == len(sent)


@pytest.mark.normative("amqp-0-9-1:4.2.5.5/field-names")
@pytest.mark.parametrize("name", ["a", "Z9", "$dollar", "#hash", "with_underscore", "n" * 128])
def test_legal_field_name_is_accepted(wire, name):
    queue = wire.queue()
    wire.publish("", queue, headers={name: 1})
    (message,) = wire.drained(queue)
    assert message.headers == {name: 1}


@pytest.mark.normative("amqp-0-9-1:4.2.5.5/field-names")
@pytest.mark.parametrize("name", ["9lives", " space", "n" * 129], ids=["digit first", "space first", "129 octets"])
def test_broker_lives_on_after_an_illegal_field_name(wire, wires, name):
    """Refusing such a table is only advised, and in which way is not said: others must be served."""
    wire.send("queue.declare", queue=wire.things.queue(remove=False), exclusive=True, arguments={name: 1})
    must_react(wire)
    wires().must_accept()


@pytest.mark.normative("amqp-0-9-1:4.2.5.5/duplicate-fields")
def test_broker_lives_on_after_a_field_that_comes_twice(wire, wires):
    """What a receiver does with duplicates is undefined, so it may end the connection as well: it must serve others."""
    whole = method("queue.declare", 1, queue=wire.things.queue(remove=False), exclusive=True, arguments={"k": 1})
    payload = encode(whole)[7:-1]
    field = payload[-7:]
    twice = payload[: -len(field) - 4] + (2 * len(field)).to_bytes(4) + 2 * field
    wire.send(RawFrame(FrameType.METHOD, 1, twice))
    must_react(wire)
    wires().must_accept()


@pytest.mark.normative("amqp-0-9-1:4.2.5.5/duplicate-fields")
def test_broker_sends_no_field_twice(wires):
    """The broker's own table, in its very octets."""
    wire = wires.raw()
    wire.greet()
    start = next(line.octets for line in wire.transcript.lines if line.direction == "<")
    names = wire.server_properties
    assert [start.count(bytes([len(name)]) + name.encode() + b"S") <= 1 for name in names] == [True] * len(names)


@pytest.mark.normative("amqp-0-9-1:4.8.1/connection-exception")
def test_table_longer_than_its_frame_ends_the_connection(wire):
    payload = encode(method("queue.declare", 1, queue="q", arguments={"k": 1}))[7:-1]
    wire.send(RawFrame(FrameType.METHOD, 1, payload[:-11] + (1000).to_bytes(4) + payload[-7:]))
    wire.must_disconnect()


def must_react(wire):
    """Accuse the broker of silence only: an answer, a close and the end of the connection are reactions."""
    event = wire.next_event()
    check(getattr(event, "end", None) is not End.TIMEOUT, expected="a reaction", actual=event)
