"""MQTT and AMQP in WebSockets and what TLS shows without keys: every octet in its place, worked out by hand."""

import struct
from collections.abc import Callable
from typing import Any

import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.packets import Connack, Connect, Pingreq, Pingresp, Puback, Publish
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.packets.craft import BROKER, CLIENT, Conversation

Account = dict[str, Any]
Accounting = Callable[..., Account]
REQUEST = (
    b"GET /mqtt HTTP/1.1\r\nHost: b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAA\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)
ANSWER = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
)
MASK = b"\x11\xa2\x33\xf4"
HEAD = 54


def octets(*packets: Any) -> bytes:
    return b"".join(mqtt.encode(packet, Version.V3_1_1) for packet in packets)


def frame(payload: bytes, *, masked: bool, opcode: int = 2, final: bool = True) -> bytes:
    """RFC 6455 section 5.2."""
    size = len(payload)
    bit = 128 if masked else 0
    head = bytes([opcode | (128 if final else 0)])
    if size < 126:
        head += bytes([size | bit])
    elif size < 65536:
        head += struct.pack(">BH", 126 | bit, size)
    else:
        head += struct.pack(">BQ", 127 | bit, size)
    if not masked:
        return head + payload
    return head + MASK + bytes(octet ^ MASK[i % 4] for i, octet in enumerate(payload))


def websocket(size: int = 1460, request: bytes = REQUEST, answer: bytes = ANSWER) -> list[bytes]:
    talk = Conversation(broker=("10.0.0.2", 9001))
    message = Publish("a/b", b"x" * 200, qos=1, packet_id=5)
    return [
        *talk.open(),
        *talk.say(CLIENT, request, size=size),
        *talk.say(BROKER, answer, size=size),
        *talk.say(CLIENT, frame(octets(Connect("me")), masked=True), size=size),
        *talk.say(BROKER, frame(octets(Connack()), masked=False), size=size),
        *talk.say(CLIENT, frame(octets(message), masked=True), size=size),
        *talk.say(BROKER, frame(octets(Puback(5)), masked=False), size=size),
        *talk.say(BROKER, frame(b"", masked=False, opcode=9), size=size),
        *talk.say(CLIENT, frame(b"", masked=True, opcode=10), size=size),
        *talk.say(BROKER, frame(octets(message), masked=False), size=size),
        *talk.say(CLIENT, frame(b"\x03\xe8", masked=True, opcode=8), size=size),
        *talk.close(),
    ]


@pytest.mark.parametrize("size", [1, 3, 7, 100, 1460])
def test_mqtt_over_websocket_however_it_is_cut(account: Accounting, size: int) -> None:
    result = account(websocket(size))
    counts = {name: row["count"] for name, row in result["kinds"]["mqtt"].items()}
    assert counts == {"CONNECT": 1, "CONNACK": 1, "PUBLISH": 2, "PUBACK": 1}
    layers = result["bytes"]["by_layer"]
    frames = 6 + 2 + 8 + 2 + 2 + 6 + 4 + (6 + 2)  # the headers, and the close frame's status
    assert layers["websocket"] == len(REQUEST) + len(ANSWER) + frames
    assert layers["payload"] == 400
    assert layers["other"] == layers["undecoded"] == 0
    assert result["streams"]["websocket_connections"] == 1
    assert result["streams"]["malformed"] == result["streams"]["incomplete"] == 0
    assert {row["topic"]: row["published"] + row["delivered"] for row in result["topics"]["top"]} == {"a/b": 2}


def test_websocket_headers_serve_the_purpose_of_what_they_carry(account: Accounting) -> None:
    by_protocol = account(websocket())["bytes"]["by_protocol"]
    publish, puback = len(octets(Publish("a/b", b"x" * 200, qos=1, packet_id=5))), 4
    assert by_protocol["mqtt_qos1"]["by_purpose"] == {
        "application": HEAD + 8 + publish + HEAD + 4 + publish,
        "acknowledgement": HEAD + 2 + puback,
    }
    assert by_protocol["mqtt"]["by_purpose"]["keep_alive"] == (HEAD + 2) + (HEAD + 6)
    assert "other" not in by_protocol


def test_a_packet_in_several_frames_and_several_packets_in_one(account: Accounting) -> None:
    talk = Conversation(broker=("10.0.0.2", 9001))
    stream = octets(*(Publish("a/b", bytes(i)) for i in range(40)))
    pieces = [stream[at : at + 130] for at in range(0, len(stream), 130)]
    said = b"".join(
        frame(piece, masked=True, opcode=0 if i else 2, final=i == len(pieces) - 1) for i, piece in enumerate(pieces)
    )
    result = account(
        [
            *talk.open(),
            *talk.say(CLIENT, REQUEST),
            *talk.say(BROKER, ANSWER),
            *talk.say(CLIENT, frame(octets(Connect("me")), masked=True) + said, size=77),
        ]
    )
    assert result["kinds"]["mqtt"]["PUBLISH"]["count"] == 40
    assert result["bytes"]["by_layer"]["undecoded"] == 0


AMQP_REQUEST = REQUEST.replace(b"GET /mqtt", b"GET /ws").replace(b"Sec-WebSocket-Protocol: mqtt\r\n", b"")
AMQP_ANSWER = ANSWER.replace(b"Sec-WebSocket-Protocol: mqtt\r\n", b"")


def amqp_websocket(size: int = 1460) -> list[bytes]:
    """Several frames of AMQP in one of WebSocket's, and one across two of them."""
    talk = Conversation(broker=("10.0.0.2", 15670))
    where = {"channel": 1, "body": b"x" * 200, "exchange": "ex", "routing_key": "a.b"}
    publish = b"".join(map(amqp.encode, amqp.content("basic.publish", properties={}, **where)))
    deliver = amqp.content("basic.deliver", properties={}, consumer_tag="c", delivery_tag=1, **where)
    said = b"".join(map(amqp.encode, deliver))
    start, ack = amqp.method("connection.start", 0), amqp.method("basic.ack", 1, delivery_tag=1)
    return [
        *talk.open(),
        *talk.say(CLIENT, AMQP_REQUEST, size=size),
        *talk.say(BROKER, AMQP_ANSWER, size=size),
        *talk.say(CLIENT, frame(b"AMQP\0\0\x09\1", masked=True), size=size),
        *talk.say(BROKER, frame(amqp.encode(start), masked=False), size=size),
        *talk.say(CLIENT, frame(publish, masked=True), size=size),
        *talk.say(BROKER, frame(amqp.encode(ack), masked=False), size=size),
        *talk.say(BROKER, frame(said[:5], masked=False) + frame(said[5:], masked=False), size=size),
        *talk.say(CLIENT, frame(amqp.encode(ack), masked=True), size=size),
        *talk.say(CLIENT, frame(b"", masked=True, opcode=9), size=size),
        *talk.close(),
    ]


@pytest.mark.parametrize("size", [1, 3, 7, 100, 1460])
def test_amqp_over_websocket_is_recognised_by_what_is_said(account: Accounting, size: int) -> None:
    result = account(amqp_websocket(size))
    counts = {name: row["count"] for name, row in result["kinds"]["amqp"].items()}
    assert counts == {
        "protocol-header": 1, "connection.start": 1, "basic.publish": 1, "basic.deliver": 1, "basic.ack": 2,
        "header": 2, "body": 2,
    }  # fmt: skip
    layers = result["bytes"]["by_layer"]
    frames = 6 + 2 + 8 + 2 + (2 + 4) + 6 + 6  # more than 125 octets: the publish, and what is left of the delivery
    assert layers["websocket"] == len(AMQP_REQUEST) + len(AMQP_ANSWER) + frames
    assert (layers["payload"], layers["other"], layers["undecoded"]) == (400, 0, 0)
    assert [row["protocol"] for row in result["connections"]["top"]] == ["amqp over websocket"]
    assert result["streams"]["websocket_connections"] == 1
    assert result["kinds"]["mqtt"] == {}
    assert (result["streams"]["malformed"], result["streams"]["incomplete"]) == (0, 0)


def test_headers_of_websocket_serve_the_purpose_of_the_amqp_in_them(account: Accounting) -> None:
    purposes = account(amqp_websocket())["bytes"]["by_protocol"]["amqp"]["by_purpose"]
    publish, deliver = 26 - 9 + 5 + 22 + 208, 34 - 9 + 5 + 22 + 208
    assert purposes["acknowledgement"] == (HEAD + 2 + 21) + (HEAD + 6 + 21)
    assert purposes["application"] == HEAD + 8 + publish + HEAD + 2 + 4 + deliver
    assert purposes["keep_alive"] == HEAD + 6


def test_amqp_over_a_websocket_that_began_before_the_capture(account: Accounting) -> None:
    result = account(amqp_websocket()[7:])
    counts = {name: row["count"] for name, row in result["kinds"]["amqp"].items()}
    assert counts == {"basic.publish": 1, "basic.ack": 2, "basic.deliver": 1, "header": 2, "body": 2}
    assert result["bytes"]["by_layer"]["undecoded"] == 0


def test_a_hole_in_amqp_over_websocket(account: Accounting) -> None:
    packets = amqp_websocket(60)
    result = account([*packets[:12], *packets[13:]])
    assert result["tcp"]["gaps"] == 1
    assert result["kinds"]["amqp"]["basic.ack"]["count"] == 2


@pytest.mark.parametrize(
    ("request_head", "answer"),
    [
        (REQUEST.replace(b"mqtt", b"chat"), ANSWER),
        (b"GET /websocket HTTP/1.1\r\nHost: b\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"),
        (REQUEST, ANSWER.replace(b"101", b"403")),
        (REQUEST[:-2], ANSWER.replace(b"101", b"403")),  # the answer comes before the request is complete
        (REQUEST + b"\x82", ANSWER.replace(b"101", b"403")),  # a frame has begun when the answer comes
    ],
)
def test_what_is_no_mqtt_in_a_websocket_is_another_protocol(
    account: Accounting, request_head: bytes, answer: bytes
) -> None:
    talk = Conversation(broker=("10.0.0.2", 80))
    packets = [*talk.open(), *talk.say(CLIENT, request_head), *talk.say(BROKER, answer), *talk.say(BROKER, b"body")]
    result = account(packets)
    assert result["kinds"] == {"mqtt": {}, "amqp": {}}
    assert result["bytes"]["by_layer"]["other"] >= 4
    assert result["streams"]["malformed"] == 0


def test_a_websocket_that_began_before_the_capture(account: Accounting) -> None:
    result = account(websocket()[7:])  # without handshake, HTTP, CONNECT and CONNACK
    counts = {name: row["count"] for name, row in result["kinds"]["mqtt"].items()}
    assert counts == {"PUBLISH": 2, "PUBACK": 1}
    assert result["bytes"]["by_layer"]["undecoded"] == 0


def test_a_hole_in_a_websocket_stream_costs_what_was_in_it(account: Accounting) -> None:
    talk = Conversation(broker=("10.0.0.2", 9001))
    opening = [*talk.open(), *talk.say(CLIENT, REQUEST), *talk.say(BROKER, ANSWER)]
    opening += talk.say(CLIENT, frame(octets(Connect("me")), masked=True))
    segments = [
        segment
        for number in range(20)
        for segment in talk.say(CLIENT, frame(octets(Publish("a/b", bytes(100 + number))), masked=True), size=60)
    ]
    result = account([*opening, *segments[:4], *segments[5:11], *segments[12:]])  # a first segment, a second one
    assert result["kinds"]["mqtt"]["PUBLISH"]["count"] == 19
    assert result["tcp"]["gaps"] == 2


# TLS.


def record(kind: int, body: bytes) -> bytes:
    return struct.pack(">BHH", kind, 0x0303, len(body)) + body


def server_hello(suite: int, session: int = 32) -> bytes:
    body = b"\3\3" + bytes(32) + bytes([session]) + bytes(session) + struct.pack(">HBH", suite, 0, 0)
    return record(22, b"\2" + len(body).to_bytes(3, "big") + body)


def tls(suite: int, extra: int, size: int = 1460) -> tuple[list[bytes], int]:
    """A conversation that is encrypted; how many octets its handshake has."""
    talk = Conversation(broker=("10.0.0.2", 8883))
    hello = record(22, b"\1" + (100).to_bytes(3, "big") + bytes(100))
    packets = [*talk.open(), *talk.say(CLIENT, hello, size=size)]
    answer = server_hello(suite)
    handshake = len(hello) + len(answer)
    if suite >> 8 == 0x13:
        answer += record(20, b"\1") + record(23, bytes(900))
        finished = record(20, b"\1") + record(23, bytes(36 + extra))
        handshake += 6 + 905 + len(finished)
    else:
        finished = record(20, b"\1") + record(22, bytes(40))
        handshake += len(finished)
    packets += [*talk.say(BROKER, answer, size=size), *talk.say(CLIENT, finished, size=size)]
    for side, plain in (
        (CLIENT, 16), (BROKER, 4), (CLIENT, 2), (BROKER, 2), (CLIENT, 300), (BROKER, 4), (CLIENT, 2), (BROKER, 2),
        (CLIENT, 30), (CLIENT, 2), (BROKER, 2),  # the last two may be DISCONNECT and a farewell: no keep-alive
    ):  # fmt: skip
        packets += talk.say(side, record(23, bytes(plain + extra)), size=size)
    return packets, handshake


@pytest.mark.parametrize(("suite", "extra"), [(0x1301, 17), (0x1303, 17), (0xC02F, 24), (0xCCA8, 16)])
@pytest.mark.parametrize("size", [1, 40, 1460])
def test_tls_books_what_the_records_cost(account: Accounting, suite: int, extra: int, size: int) -> None:
    packets, handshake = tls(suite, extra, size)
    result = account(packets)
    layers = result["bytes"]["by_layer"]
    assert layers["tls"] == handshake + 11 * (5 + extra)
    assert layers["undecoded"] == 16 + 4 + 2 + 2 + 300 + 4 + 2 + 2 + 30 + 2 + 2
    assert layers["other"] == 0
    found = result["tls"]
    assert (found["connections"], found["records"], found["handshake"]) == (1, 11, handshake)
    assert found["inferred"] == {
        "records_of_known_size": 11, "mqtt_keep_alive": 6, "mqtt_acknowledgement": 2, "amqp_heartbeat": 0,
        "amqp_acknowledgement": 0, "keep_alive_exchanges": 2, "keep_alive_interval_s": pytest.approx(0, abs=0.001),
    }  # fmt: skip
    assert result["kinds"] == {"mqtt": {}, "amqp": {}}  # a guess is no count


def test_tls_whose_beginning_was_not_captured(account: Accounting) -> None:
    talk = Conversation(broker=("10.0.0.2", 8883))
    packets = [segment for _ in range(5) for segment in talk.say(CLIENT, record(23, bytes(40)))]
    result = account(packets)
    assert result["bytes"]["by_layer"]["tls"] == 5 * 5
    assert result["tls"]["records"] == 5
    assert result["tls"]["inferred"]["records_of_known_size"] == 0  # the cipher is not known, nothing is guessed


def test_a_hole_in_tls(account: Accounting) -> None:
    packets, _ = tls(0x1301, 17)
    result = account([*packets[:8], *packets[9:]])  # a whole record is missing
    assert result["tcp"]["gaps"] == 1
    assert result["tls"]["records"] == 10
    assert result["streams"]["malformed"] == 0


def test_ports_that_are_told(tmp_path: Any) -> None:
    from mqproof.dissectors.overhead.account import as_json
    from mqproof.dissectors.overhead.engine import Plain, analyze
    from mqproof.dissectors.packets import state as w
    from mqproof.dissectors.packets.pcap import Packet, write_packets

    talk = Conversation(broker=("10.0.0.2", 7777))
    packets = [*talk.open(), *talk.say(CLIENT, octets(Connect("me"), Pingreq())), *talk.say(BROKER, octets(Pingresp()))]
    write_packets(tmp_path / "a", [Packet(i, data, len(data), 1) for i, data in enumerate(packets)], 1)
    told = as_json(analyze(str(tmp_path / "a"), engine=Plain(), decode_as={7777: w.PLAIN_OTHER}))
    assert told["kinds"]["mqtt"] == {}
    assert told["bytes"]["by_layer"]["other"] == len(octets(Connect("me"), Pingreq(), Pingresp()))
    told = as_json(analyze(str(tmp_path / "a"), engine=Plain(), decode_as={7777: w.PLAIN_MQTT}))
    assert told["kinds"]["mqtt"]["PINGREQ"]["count"] == 1
