"""MQTT in scapy: what the codec writes is shown, and what scapy crafts is what the codec reads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mqproof.dissectors.mqtt import codec
from mqproof.dissectors.mqtt.codec import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Subscription,
    Unsuback,
    Unsubscribe,
    Will,
)
from mqproof.dissectors.mqtt.layers import (
    MQTT,
    MQTTAcknowledgement,
    MQTTConnect,
    MQTTPublish,
    MQTTRaw,
    MQTTSubscribe,
    MQTTSubscription,
)
from mqproof.dissectors.mqtt.tables import PacketType, Version
from mqproof.dissectors.packets.craft import BROKER, CLIENT, Conversation
from mqproof.dissectors.packets.pcap import Packet, write_packets
from scapy.config import conf
from scapy.layers.inet import TCP
from scapy.sendrecv import sniff
from scapy.sessions import TCPSession

PROPERTIES = (("content_type", "text"), ("user_property", ("a", "b")))
SAMPLES: list[Any] = [
    Connect("me", will=Will("t", b"w", 1, True), user_name="u", password=b"p", keep_alive=9),
    Connack(True, 0),
    Publish("a/b", b"x"),
    Publish("a/b", b"x", 2, True, True, 7),
    Puback(1),
    Pubrec(2),
    Pubrel(3),
    Pubcomp(4),
    Subscribe(5, (Subscription("a/+", 1), Subscription("#", 2))),
    Suback(5, (1, 0x80)),
    Unsubscribe(6, ("a", "b")),
    Unsuback(6),
    Pingreq(),
    Pingresp(),
    Disconnect(),
]
ONLY_FIVE: list[Any] = [
    Connect("me", properties=(("session_expiry_interval", 9),), version=Version.V5_0),
    Publish("a/b", b"x", 1, packet_id=7, properties=PROPERTIES),
    Puback(1, 0x10, (("reason_string", "why"),)),
    Unsuback(6, (0, 0x11)),
    Disconnect(0x04),
    Disconnect(0x8E, (("reason_string", "why"),)),
    Auth(0x18, (("authentication_method", "m"), ("authentication_data", b"\0\xff"))),
]


@pytest.fixture(autouse=True)
def version_as_before() -> Iterator[None]:
    before = conf.contribs["mqproof"]["mqtt_version"]
    yield
    conf.contribs["mqproof"]["mqtt_version"] = before


@pytest.mark.parametrize(
    ("packet", "version"),
    [(sample, Version.V3_1_1) for sample in SAMPLES]
    + [(sample, Version.V5_0) for sample in SAMPLES[1:] if sample != Unsuback(6)]
    + [(sample, Version.V5_0) for sample in ONLY_FIVE],
    ids=lambda value: type(value).__name__ if not isinstance(value, Version) else value.name,
)
def test_each_packet_is_shown_and_written_back(packet: Any, version: Version) -> None:
    conf.contribs["mqproof"]["mqtt_version"] = int(version)
    octets = codec.encode(packet, version)
    shown = MQTT(octets)
    assert PacketType(shown.type) is codec.packet_type(packet)
    assert not isinstance(shown.body, MQTTRaw)
    assert bytes(shown) == octets
    shown.clear_cache()
    if shown.body is not None:
        shown.body.clear_cache()
    assert bytes(shown) == octets


def test_fields_of_a_publish_with_properties() -> None:
    conf.contribs["mqproof"]["mqtt_version"] = 5
    body = MQTT(codec.encode(ONLY_FIVE[1], Version.V5_0)).body
    assert (body.topic, body.packet_id, body.load) == (b"a/b", 7, b"x")
    assert body.properties == [("content_type", "text"), ("user_property", ("a", "b"))]


def test_crafted_packets_are_what_the_codec_reads() -> None:
    subscribe = MQTT(
        type=PacketType.SUBSCRIBE.value,
        body=MQTTSubscribe(packet_id=9, subscriptions=[MQTTSubscription(filter="a/#", qos=1)]),
    )
    assert codec.decode(bytes(subscribe), version=Version.V3_1_1) == (
        Subscribe(9, (Subscription("a/#", 1),)), len(bytes(subscribe)),
    )  # fmt: skip
    publish = MQTT(qos=1, dup=1, body=MQTTPublish(topic="t", packet_id=3, load="hello"))
    assert codec.decode(bytes(publish), version=Version.V3_1_1) == (
        Publish("t", b"hello", 1, dup=True, packet_id=3), len(bytes(publish)),
    )  # fmt: skip
    connect = MQTT(type=1, body=MQTTConnect(client_id="me", flags=2))
    assert codec.decode(bytes(connect), version=Version.V3_1_1) == (Connect("me"), len(bytes(connect)))
    assert bytes(MQTT(type=PacketType.PINGREQ.value)) == b"\xc0\0"
    assert bytes(MQTT(type=PacketType.PUBREL.value, body=MQTTAcknowledgement(packet_id=2))) == b"\x62\2\0\2"


def test_garbage_is_shown_and_raises_nothing() -> None:
    octets = b"\x30\x05\x00\x30abc"  # a topic that is longer than the packet
    shown = MQTT(octets)
    assert isinstance(shown.body, MQTTRaw)
    assert bytes(shown) == octets
    for piece in (b"\x30", b"\x30\xff\xff\xff\xff", b"\x10\x02\0\4"):
        assert bytes(TCP(bytes(TCP(dport=1883)) + piece))[20:] == piece


@pytest.mark.parametrize("size", [1, 5, 1460])
def test_tcp_session_puts_packets_together_and_remembers_the_version(tmp_path: Path, size: int) -> None:
    talk = Conversation()
    five = Version.V5_0
    packets = [
        *talk.open(),
        *talk.say(CLIENT, codec.encode(Connect("me", version=five), five), size=size),
        *talk.say(BROKER, codec.encode(Connack(), five), size=size),
        *talk.say(CLIENT, codec.encode(ONLY_FIVE[1], five) + codec.encode(Pingreq(), five), size=size),
        *talk.say(BROKER, codec.encode(ONLY_FIVE[2], five), size=size),
    ]
    write_packets(tmp_path / "a.pcapng", [Packet(i, data, len(data), 1) for i, data in enumerate(packets)], 1)
    seen = []
    for packet in sniff(offline=str(tmp_path / "a.pcapng"), session=TCPSession):
        layer = packet.getlayer(MQTT)
        while layer is not None:
            seen.append(layer)
            layer = layer.payload.getlayer(MQTT)
    assert [PacketType(layer.type).name for layer in seen] == ["CONNECT", "CONNACK", "PUBLISH", "PINGREQ", "PUBACK"]
    assert seen[2].body.properties == [("content_type", "text"), ("user_property", ("a", "b"))]
    assert seen[4].body.properties == [("reason_string", "why")]
