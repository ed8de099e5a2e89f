"""AMQP in scapy: what the codec writes is shown, and what scapy crafts is what the codec reads."""

from pathlib import Path

import pytest
from mqproof.dissectors.amqp import codec
from mqproof.dissectors.amqp.layers import (
    AMQP,
    METHOD_LAYERS,
    AMQPBody,
    AMQPHeader,
    AMQPProtocolHeader,
)
from mqproof.dissectors.amqp.tables import METHODS
from mqproof.dissectors.packets.craft import BROKER, CLIENT, Conversation
from mqproof.dissectors.packets.pcap import Packet, write_packets
from scapy.layers.inet import TCP
from scapy.sendrecv import sniff
from scapy.sessions import TCPSession

PUBLISH = METHOD_LAYERS["basic.publish"]


@pytest.mark.parametrize("name", METHODS)
def test_each_method_is_built_and_read_as_the_codec_does(name: str) -> None:
    octets = codec.encode(codec.method(name, 3))
    shown = AMQP(octets)
    assert type(shown.content) is METHOD_LAYERS[name]
    assert (shown.channel, shown.end) == (3, 0xCE)
    assert bytes(AMQP(channel=3, content=METHOD_LAYERS[name]())) == octets
    assert bytes(shown) == octets


def test_arguments_bits_and_tables() -> None:
    crafted = AMQP(
        channel=1,
        content=METHOD_LAYERS["queue.declare"](queue="q", durable=1, no_wait=1, arguments={"x-max-length": 5}),
    )
    found = codec.decode(bytes(crafted))
    assert found is not None
    frame, used = found
    assert used == len(bytes(crafted))
    assert isinstance(frame, codec.Method)
    arguments = frame.arguments
    assert (arguments["queue"], arguments["durable"], arguments["no_wait"]) == ("q", True, True)
    assert (arguments["passive"], arguments["exclusive"]) == (False, False)
    assert arguments["arguments"] == {"x-max-length": 5}
    assert AMQP(bytes(crafted)).content.arguments == {"x-max-length": 5}


def test_properties_of_a_content_header() -> None:
    properties = {"content_type": "text/plain", "headers": {"n": 1}, "delivery_mode": 2, "message_id": "m"}
    octets = codec.encode(codec.ContentHeader(1, 60, 5, properties))
    header = AMQP(octets).content
    assert isinstance(header, AMQPHeader)
    assert (header.body_size, header.content_type, header.delivery_mode) == (5, b"text/plain", 2)
    assert (header.headers, header.message_id, header.app_id) == ({"n": 1}, b"m", None)
    crafted = AMQPHeader(body_size=5, **properties)
    assert bytes(AMQP(channel=1, content=crafted)) == octets


def test_illegal_frames_can_be_crafted() -> None:
    assert bytes(AMQP(type=9, channel=1, size=99, content=AMQPBody(load=b"x"), end=0)) == b"\x09\0\1\0\0\0\x63x\0"
    assert bytes(AMQP()) == codec.encode(codec.Heartbeat())


def test_frames_of_one_segment_follow_each_other() -> None:
    message = codec.content("basic.publish", body=b"hello", exchange="", routing_key="a.b")
    shown = AMQP(b"AMQP\0\0\x09\x01" + b"".join(map(codec.encode, message)))
    assert isinstance(shown, AMQPProtocolHeader)
    frame = shown[AMQP]
    assert frame.content.routing_key == b"a.b"
    assert shown.getlayer(AMQP, 3).content.load == b"hello"
    assert "basic.publish" in frame.mysummary()


def test_garbage_is_shown_and_raises_nothing() -> None:
    octets = b"\1\0\1\0\0\0\x06\0\x3c\0\x28\0\0\xce"  # a basic.publish that ends before its exchange
    shown = AMQP(octets)
    assert isinstance(shown.content, AMQPBody)
    assert bytes(shown) == octets
    assert TCP(bytes(TCP(dport=5672)) + b"\1\0").load == b"\1\0"


@pytest.mark.parametrize("size", [3, 10, 1460])
def test_tcp_session_puts_frames_together(tmp_path: Path, size: int) -> None:
    talk = Conversation(broker=("10.0.0.2", 5672))
    message = codec.content("basic.publish", body=b"b" * 300, exchange="amq.topic", routing_key="a.b")
    deliver = codec.content("basic.deliver", body=b"", exchange="amq.topic", routing_key="a.b")
    packets = [
        *talk.open(),
        *talk.say(CLIENT, b"AMQP\0\0\x09\x01", size=size),
        *talk.say(CLIENT, b"".join(map(codec.encode, message)), size=size),
        *talk.say(BROKER, b"".join(map(codec.encode, deliver)), size=size),
    ]
    write_packets(tmp_path / "a.pcapng", [Packet(i, data, len(data), 1) for i, data in enumerate(packets)], 1)
    frames = []
    for packet in sniff(offline=str(tmp_path / "a.pcapng"), session=TCPSession):
        assert packet.haslayer(TCP)
        layer = packet.getlayer(AMQP)
        while layer is not None:
            frames.append(layer.content)
            layer = layer.payload.getlayer(AMQP)
    assert [type(content).__name__ for content in frames] == [
        "AMQPBasicPublish", "AMQPHeader", "AMQPBody", "AMQPBasicDeliver", "AMQPHeader",
    ]  # fmt: skip
    assert frames[2].load == b"b" * 300
