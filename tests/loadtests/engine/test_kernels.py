"""The compiled kernels against the codecs and against Python's own payload format."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.tables import Version
from mqproof.loadtests.engine import kernels
from mqproof.loadtests.engine.amqp import AmqpBatch
from mqproof.loadtests.engine.mqtt import MqttBatch
from mqproof.loadtests.messages import SMALLEST, Stamp, read, write

NUMBERS = st.integers(0, 2**31)


def walked(walk: Any, octets: bytes, room: int = 64) -> tuple[int, list[list[int]], list[list[int]]]:
    messages, events, found = np.zeros((room, 4), np.int64), np.zeros((room, 3), np.int64), np.zeros(2, np.int64)
    rest = walk(np.frombuffer(octets, np.uint8), 0, len(octets), messages, events, found)
    return rest, messages[: found[0]].tolist(), events[: found[1]].tolist()


@settings(deadline=None)
@given(NUMBERS, NUMBERS, NUMBERS, st.integers(SMALLEST, 90), st.integers(1, 5))
def test_batches_are_what_the_codec_reads_and_the_payload_format_says(
    publisher: int, first: int, intended: int, size: int, count: int
) -> None:
    frames = amqp.Decoder()
    batch = AmqpBatch(8, bytes(size), "e", "k", {"delivery_mode": 2})
    frames.feed(bytes(batch.lay_out(count, publisher, first, intended, 10.0)))
    packets = mqtt.Decoder(Version.V3_1_1)
    packets.feed(bytes(MqttBatch(8, bytes(size), "t/x", 1).lay_out(count, publisher, first, intended, 10.0)))
    for index in range(count):
        stamp = Stamp(publisher, first + index, intended + 10 * index)
        method, header, body = frames.next(), frames.next(), frames.next()
        assert isinstance(method, amqp.Method)
        assert (method.name, method.arguments["routing_key"]) == ("basic.publish", "k")
        assert isinstance(header, amqp.ContentHeader)
        assert header.properties == {"delivery_mode": 2}
        assert isinstance(body, amqp.Body)
        assert read(body.payload) == stamp
        packet = packets.next()
        assert isinstance(packet, mqtt.Publish)
        assert read(packet.payload) == stamp
        assert packet.packet_id == (first + index) % 65535 + 1
    assert frames.next() is None
    assert packets.next() is None


def deliveries(count: int, **change: Any) -> bytes:
    octets = b""
    for number in range(count):
        body = write(Stamp(7, number, 1000 + number), 40)
        octets += b"".join(map(amqp.encode, amqp.content(
            "basic.deliver", body=body, properties={"headers": {"a": 1}}, consumer_tag="ctag", delivery_tag=number + 1,
            redelivered=number == 1, exchange="x", routing_key="k", **change,
        )))  # fmt: skip
    return octets


def publishes(count: int, qos: int) -> bytes:
    return b"".join(
        mqtt.encode(
            mqtt.Publish("a/b", write(Stamp(7, number, 1000 + number), 300), qos, dup=qos > 0 and number == 1,
                         packet_id=number + 1 if qos else None), Version.V3_1_1)
        for number in range(count)
    )  # fmt: skip


STREAMS = [
    pytest.param(kernels.walk_amqp, deliveries(3), kernels.OWED_ACK, id="amqp"),
    pytest.param(kernels.walk_mqtt, publishes(3, 0), None, id="qos 0"),
    pytest.param(kernels.walk_mqtt, publishes(3, 1), kernels.OWED_ACK, id="qos 1"),
    pytest.param(kernels.walk_mqtt, publishes(3, 2), kernels.OWED_REC, id="qos 2"),
]


@pytest.mark.parametrize(("walk", "octets", "owed"), STREAMS)
def test_a_stream_cut_anywhere_gives_the_same_messages(walk: Any, octets: bytes, owed: int | None) -> None:
    for cut in range(len(octets) + 1):
        rest, messages, events = walked(walk, octets[:cut])
        assert rest <= cut
        _, more, more_events = walked(walk, octets[rest:])
        assert [row[:3] for row in messages + more] == [[7, number, 1000 + number] for number in range(3)]
        if owed is not None:
            assert [row[:2] for row in events + more_events] == [[owed, number + 1] for number in range(3)]
    flags = [row[3] for row in walked(walk, octets)[1]]
    assert flags == [kernels.INTACT, kernels.INTACT | (kernels.REPEAT if owed is not None else 0), kernels.INTACT]


@pytest.mark.parametrize(("walk", "octets", "owed"), STREAMS)
def test_a_full_room_ends_the_walk_before_the_next_message(walk: Any, octets: bytes, owed: int | None) -> None:
    rest, messages, _ = walked(walk, octets, room=2)
    assert [row[1] for row in messages] == [0, 1]
    assert [row[1] for row in walked(walk, octets[rest:])[1]] == [2]


def test_every_changed_octet_of_a_payload_is_noticed() -> None:
    octets = publishes(1, 0)
    at = len(octets) - 300
    for index in range(at, len(octets)):
        changed = bytearray(octets)
        changed[index] ^= 1 + index % 255
        _, messages, _ = walked(kernels.walk_mqtt, bytes(changed))
        assert messages[0][3] == kernels.STRANGE, index


def test_confirms_and_refusals_and_closes() -> None:
    frames = [
        amqp.method("basic.ack", delivery_tag=5, multiple=True), amqp.Heartbeat(),
        amqp.method("basic.nack", delivery_tag=2**40), amqp.method("connection.blocked", 0, reason="memory"),
        amqp.method("connection.unblocked", 0), amqp.method("channel.close", reply_code=404),
    ]  # fmt: skip
    octets = b"".join(map(amqp.encode, frames))
    rest, _, events = walked(kernels.walk_amqp, octets)
    assert rest == len(octets)
    assert [row[0] for row in events] == [
        kernels.CONFIRMED, kernels.REFUSED, kernels.BLOCKED, kernels.UNBLOCKED, kernels.CLOSED,
    ]  # fmt: skip
    assert (events[0][1:], events[1][1:]) == ([5, 1], [2**40, 0])
    assert octets[events[4][1] :] == amqp.encode(frames[-1])


def test_the_steps_of_qos_2() -> None:
    packets = [mqtt.Pubrec(3), mqtt.Pubrel(4), mqtt.Pubcomp(65535), mqtt.Puback(1), mqtt.Pingresp()]
    octets = b"".join(mqtt.encode(packet, Version.V3_1_1) for packet in packets)
    assert [row[:2] for row in walked(kernels.walk_mqtt, octets)[2]] == [
        [kernels.RECEIVED, 3], [kernels.RELEASED, 4], [kernels.COMPLETED, 65535], [kernels.CONFIRMED, 1],
    ]  # fmt: skip


def test_warming_compiles_and_checks() -> None:
    kernels.warm()
