"""The byte account: every octet in its place, worked out by hand here."""

from collections.abc import Callable
from typing import Any

import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.packets import (
    Connack,
    Connect,
    Pingreq,
    Pingresp,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
)
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.packets.craft import BROKER, CLIENT, LINKS, Conversation

Account = dict[str, Any]
Accounting = Callable[..., Account]
TIMESTAMPS = b"\1\1\x08\x0a" + bytes(8)


def octets(*packets: Any, version: Version = Version.V3_1_1) -> bytes:
    return b"".join(mqtt.encode(packet, version) for packet in packets)


def opened(talk: Conversation, version: Version = Version.V3_1_1) -> list[bytes]:
    return [
        *talk.open(),
        *talk.say(CLIENT, octets(Connect("me", version=version), version=version)),
        *talk.say(BROKER, octets(Connack(False, 0), version=version)),
    ]


def counts(account: Account, protocol: str) -> dict[str, int]:
    return {name: row["count"] for name, row in account["kinds"][protocol].items()}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("hosts", [("10.0.0.1", "10.0.0.2"), ("fd00::1", "fd00::2")])
def test_every_octet_of_a_publish_has_its_layer(account: Accounting, link: str, hosts: tuple[str, str]) -> None:
    linktype, frame = LINKS[link]
    talk = Conversation((hosts[0], 4000), (hosts[1], 1883), frame=frame, options=TIMESTAMPS)
    before = account(opened(talk), linktype)["bytes"]["by_layer"]
    message = Publish("home/temp", b"21.5", qos=1, packet_id=7)
    talk = Conversation((hosts[0], 4000), (hosts[1], 1883), frame=frame, options=TIMESTAMPS)
    packets = [*opened(talk), *talk.say(CLIENT, octets(message))]
    after = account(packets, linktype)["bytes"]["by_layer"]
    version = 4 if "." in hosts[0] else 6
    expected = {
        "link": len(frame(b"", version)),
        "ip": 20 if version == 4 else 40,
        "tcp": 20,
        "tcp_options": 12,
        "framing": 2,
        "routing": 2 + 9,
        "variable_header": 2,
        "payload": 4,
    }
    assert {name: after[name] - before[name] for name in expected} == expected
    assert sum(after.values()) - sum(before.values()) == sum(expected.values())


def test_properties_of_a_publish_are_a_layer_of_their_own(account: Accounting) -> None:
    talk = Conversation()
    message = Publish("t", b"x", properties=(("content_type", "text"), ("user_property", ("a", "bc"))))
    packets = [*opened(talk, Version.V5_0), *talk.say(CLIENT, octets(message, version=Version.V5_0))]
    layers = account(packets)["bytes"]["by_layer"]
    assert layers["properties"] == 1 + (1 + 2 + 4) + (1 + 2 + 1 + 2 + 2)
    assert layers["payload"] == 1
    assert layers["routing"] == 3


def test_purposes_and_qos(account: Accounting) -> None:
    talk = Conversation()
    packets = opened(talk)
    conversation = [
        (CLIENT, Publish("t", b"0")),
        (CLIENT, Publish("t", b"11", qos=1, packet_id=1)),
        (BROKER, Puback(1)),
        (CLIENT, Publish("t", b"222", qos=2, packet_id=2)),
        (BROKER, Pubrec(2)),
        (CLIENT, Pubrel(2)),
        (BROKER, Pubcomp(2)),
        (CLIENT, Pingreq()),
        (BROKER, Pingresp()),
        (BROKER, Publish("t", b"222", qos=2, packet_id=9)),
    ]
    for side, packet in conversation:
        packets += talk.say(side, octets(packet))
    packets += [*talk.acknowledge(CLIENT), *talk.close()]
    result = account(packets)
    head = 54
    by_protocol = result["bytes"]["by_protocol"]
    assert by_protocol["mqtt_qos0"]["by_purpose"] == {"application": head + 2 + 3 + 1}
    assert by_protocol["mqtt_qos1"]["by_purpose"] == {"application": head + 2 + 3 + 2 + 2, "acknowledgement": head + 4}
    assert by_protocol["mqtt_qos2"]["by_purpose"] == {
        "application": 2 * (head + 2 + 3 + 2 + 3),
        "acknowledgement": 3 * (head + 4),
        "bare_ack": head,
    }
    assert by_protocol["mqtt"]["by_purpose"]["keep_alive"] == 2 * (head + 2)
    assert by_protocol["mqtt"]["by_purpose"]["setup"] == 6 * head + (2 * head + 16 + 4)
    qos2 = result["messages"]["mqtt"]["qos2"]
    assert (qos2["published"], qos2["delivered"], qos2["packets_per_delivered"]) == (1, 1, 6)
    assert qos2["bytes"] - qos2["payload"] == qos2["overhead_per_delivered"] == 6 * head + 2 * 7 + 3 * 4
    assert qos2["payload_share"] == round(6 / qos2["bytes"], 4)


def amqp_conversation(talk: Conversation, body: bytes, **sizes: int) -> list[bytes]:
    where = {"channel": 1, "body": body, "exchange": "ex", "routing_key": "a.b"}
    publish = amqp.content("basic.publish", properties={"content_type": "text/plain"}, **where)
    deliver = amqp.content("basic.deliver", consumer_tag="c", delivery_tag=1, **where)
    return [
        *talk.open(),
        *talk.say(CLIENT, b"AMQP\0\0\x09\x01", **sizes),
        *talk.say(BROKER, amqp.encode(amqp.method("connection.start", 0)), **sizes),
        *talk.say(CLIENT, b"".join(map(amqp.encode, publish)), **sizes),
        *talk.say(BROKER, amqp.encode(amqp.method("basic.ack", 1, delivery_tag=1)), **sizes),
        *talk.say(BROKER, b"".join(map(amqp.encode, deliver)), **sizes),
        *talk.say(CLIENT, amqp.encode(amqp.method("basic.ack", 1, delivery_tag=1)), **sizes),
        *talk.say(BROKER, amqp.encode(amqp.Heartbeat()), **sizes),
    ]


def test_every_octet_of_an_amqp_message_has_its_layer(account: Accounting) -> None:
    layers = account(amqp_conversation(Conversation(), b"hello"))["bytes"]["by_layer"]
    start = len(amqp.encode(amqp.method("connection.start", 0))) - 8
    assert layers["framing"] == 8 + 8 * 10
    assert layers["payload"] == 2 * 5
    assert layers["routing"] == 2 * (3 + 4)
    assert layers["properties"] == (2 + 11) + 2
    publish, deliver, header, ack = 4 + 2 + 1, 4 + 2 + 8 + 1, 12, 4 + 8 + 1
    assert layers["variable_header"] == start + publish + deliver + 2 * header + 2 * ack


def test_amqp_kinds_purposes_and_keys(account: Accounting) -> None:
    result = account(amqp_conversation(Conversation(), b"hello"))
    kinds = result["kinds"]["amqp"]
    assert counts(result, "amqp") == {
        "connection.start": 1, "basic.publish": 1, "basic.deliver": 1, "basic.ack": 2,
        "header": 2, "body": 2, "heartbeat": 1, "protocol-header": 1,
    }  # fmt: skip
    assert kinds["body"] == {"count": 2, "bytes": 26, "payload": 10, "from_client": 1, "from_broker": 1}
    message = result["messages"]["amqp"]["all"]
    assert (message["published"], message["delivered"], message["packets_per_delivered"]) == (1, 1, 4)
    [row] = result["routing_keys"]["top"]
    assert (row["exchange"], row["routing_key"], row["published"], row["delivered"]) == ("ex", "a.b", 1, 1)
    assert row["payload"] == 10
    assert row["bytes"] == kinds["basic.publish"]["bytes"] + kinds["basic.deliver"]["bytes"] + sum(
        kinds[name]["bytes"] for name in ("header", "body")
    )
    assert result["bytes"]["by_purpose"]["keep_alive"] == 54 + 8


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 1460])
def test_frames_are_the_same_however_they_are_cut(account: Accounting, size: int) -> None:
    body = b"hello" * 40
    whole = account(amqp_conversation(Conversation(), body))
    pieces = account(amqp_conversation(Conversation(), body, size=size))
    assert pieces["kinds"] == whole["kinds"]
    assert pieces["routing_keys"] == whole["routing_keys"]
    upper = ("framing", "variable_header", "routing", "properties", "payload", "undecoded", "other")
    assert all(pieces["bytes"]["by_layer"][name] == whole["bytes"]["by_layer"][name] for name in upper)


def mqtt_stream() -> bytes:
    """Thirty messages, the remaining lengths of one and of two octets."""
    return octets(
        *(Publish(f"room/{i % 3}", b"x" * (i * 9), qos=i % 3, packet_id=i + 1 if i % 3 else None) for i in range(30))
    )


@pytest.mark.parametrize("size", [1, 2, 3, 127, 128, 129, 1460])
def test_packets_are_the_same_however_they_are_cut(account: Accounting, size: int) -> None:
    talk = Conversation()
    result = account([*opened(talk), *talk.say(CLIENT, mqtt_stream(), size=size)])
    assert counts(result, "mqtt")["PUBLISH"] == 30
    assert result["kinds"]["mqtt"]["PUBLISH"]["bytes"] == len(mqtt_stream())
    assert {row["topic"]: row["published"] for row in result["topics"]["top"]} == {f"room/{i}": 10 for i in range(3)}
    assert result["streams"]["malformed"] == result["streams"]["incomplete"] == 0


def test_other_protocols_are_booked_and_not_decoded(account: Accounting) -> None:
    arp = bytes(12) + b"\x08\x06" + bytes(46)
    udp = bytes(12) + b"\x08\0" + b"\x45\0\0\x20" + bytes(5) + b"\x11" + bytes(10) + bytes(12)
    web = Conversation(broker=("10.0.0.9", 80))
    packets = [
        arp,
        udp,
        *web.open(),
        *web.say(CLIENT, b"GET / HTTP/1.1\r\n\r\n"),
        *web.say(BROKER, b"HTTP/1.1 200 OK\r\n\r\n"),
    ]
    layers = account(packets)["bytes"]["by_layer"]
    assert layers["other"] == 46 + 12 + 18 + 19
    assert layers["undecoded"] == 0


def test_an_extension_header_that_claims_more_than_the_packet_has(account: Accounting) -> None:
    packet = bytes(12) + b"\x86\xdd" + b"\x60\0\0\0\0\x20\0\x40" + bytes(32) + b"\x06\xff" + bytes(30)
    layers = account([packet])["bytes"]["by_layer"]
    assert (layers["link"], layers["ip"], layers["other"]) == (14, 40 + 32, 0)


def test_padding_of_short_ethernet_frames(account: Accounting) -> None:
    talk = Conversation()
    packets = [data + bytes(max(0, 60 - len(data))) for data in talk.open()]
    assert account(packets)["bytes"]["by_layer"]["padding"] == 3 * 6
