"""MQTT over WebSocket: section 6, RFC 6455."""

import struct

import pytest
from mqproof.dissectors.mqtt.codec import Connack, Connect, Decoder, Pingreq, Pingresp, encode
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.reference.mqtt.defects import DEFECTS
from mqproof.harness.reference.mqtt.websocket import WebSocket, accept_key, frame

V5 = Version.V5_0
REQUEST = (
    b"GET /mqtt HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
)


def masked(opcode, payload, fin=True, key=b"\1\2\3\4"):
    body = bytes(octet ^ key[index % 4] for index, octet in enumerate(payload))
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack(">H", size)
    return bytes([fin << 7 | opcode]) + length + key + body


class Peer:
    def __init__(self, limit=1000, defects=()):
        self.sent, self.closed, self.received = b"", False, b""
        self.socket = WebSocket(self, limit, lambda name: name in defects)

    def write(self, data):
        self.sent += data

    def close(self):
        self.closed = True

    def feed(self, data):
        self.socket.receive(data, self.take)
        sent, self.sent = self.sent, b""
        return sent

    def take(self, data):
        self.received += data


@pytest.fixture
def peer():
    peer = Peer()
    assert peer.feed(REQUEST).startswith(b"HTTP/1.1 101 ")
    return peer


def test_accept_key_is_the_one_of_rfc_6455():
    assert accept_key(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_handshake_selects_mqtt():
    answer = Peer().feed(REQUEST)
    assert b"\r\nSec-WebSocket-Protocol: mqtt\r\n" in answer
    assert b"\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in answer
    offers = REQUEST.replace(b"Protocol: mqtt", b"Protocol: mqttv3.1, mqtt")
    assert b"Protocol: mqtt\r\n" in Peer().feed(offers)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (REQUEST.replace(b"Protocol: mqtt", b"Protocol: chat"), b"400"),
        (REQUEST.replace(b"Sec-WebSocket-Protocol: mqtt\r\n", b""), b"400"),
        (REQUEST.replace(b"Upgrade: websocket\r\n", b""), b"400"),
        (REQUEST.replace(b"Sec-WebSocket-Key", b"X"), b"400"),
        (REQUEST.replace(b"Version: 13", b"Version: 8"), b"426"),
        (REQUEST.replace(b"GET", b"POST"), b"400"),
        (b"GET / HTTP/1.1\r\n" + b"X: " + b"x" * 20000, b"431"),
    ],
)
def test_refused_handshake(request_, status):
    peer = Peer()
    assert peer.feed(request_).startswith(b"HTTP/1.1 " + status)
    assert peer.closed


def test_handshake_in_pieces():
    peer = Peer()
    answer = b"".join(peer.feed(bytes([octet])) for octet in REQUEST + masked(2, b"abc"))
    assert b" 101 " in answer
    assert peer.received == b"abc"


def test_frames_of_any_cut(peer):
    stream = masked(2, b"ab", fin=False) + masked(9, b"ping") + masked(0, b"", fin=False) + masked(0, b"c")
    stream += masked(2, b"d" * 300)
    answer = b"".join(peer.feed(bytes([octet])) for octet in stream)
    assert peer.received == b"abc" + b"d" * 300
    assert answer == frame(10, b"ping")
    assert not peer.closed


@pytest.mark.parametrize(
    ("octets", "code"),
    [
        (masked(1, b"text"), 1003),
        (masked(3, b""), 1002),
        (masked(11, b""), 1002),
        (masked(0, b""), 1002),
        (masked(2, b"", fin=False) + masked(2, b""), 1002),
        (masked(9, b"", fin=False), 1002),
        (masked(9, b"x" * 126), 1002),
        (frame(2, b"unmasked"), 1002),
        (masked(2, b"x" * 1001), 1009),
        (b"\xc2\x80\0\0\0\0", 1002),
        (masked(8, b"\x03\xe8"), 1000),
    ],
)
def test_frames_that_end_the_connection(peer, octets, code):
    assert peer.feed(octets) == frame(8, code.to_bytes(2))
    assert peer.closed
    assert peer.received == b""
    assert peer.feed(masked(2, b"more")) == b""


def sends_binary_frames(peer):
    peer.feed(REQUEST)
    peer.socket.write(b"mqtt")
    return peer.sent == frame(2, b"mqtt")


KEPT = {  # defect -> what the reference broker does without it
    "web-protocol-unnamed": lambda peer: b"\r\nSec-WebSocket-Protocol: mqtt\r\n" in peer.feed(REQUEST),
    "web-text-taken": lambda peer: peer.feed(REQUEST) and peer.feed(masked(1, b"text")) == frame(8, (1003).to_bytes(2)),
    "web-text-sent": sends_binary_frames,
    "web-packet-per-frame": lambda peer: not peer.feed(REQUEST + masked(2, b"\xc0")).endswith(frame(8, b"\x03\xea")),
    "web-fragments-refused": lambda peer: peer.feed(REQUEST + masked(2, b"\xc0\0", fin=False)) and not peer.closed,
    "web-long-refused": lambda peer: peer.feed(REQUEST + LONG) and not peer.closed,
}
LONG = b"\x82\xff" + (65536).to_bytes(8) + bytes(4) + bytes(65536)


def test_each_defect_of_websockets_has_a_conversation():
    assert {name for name in DEFECTS if name.startswith("web-")} == KEPT.keys()


@pytest.mark.parametrize("defect", KEPT)
def test_defect_breaks_what_is_kept_without_it(defect):
    assert KEPT[defect](Peer(limit=100_000))
    assert not KEPT[defect](Peer(limit=100_000, defects=(defect,)))


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_lengths_of_what_is_sent(size):
    head = {0: 2, 125: 2, 126: 4, 65535: 4, 65536: 10}[size]
    assert len(frame(2, b"x" * size)) == head + size


def test_conversation_over_a_socket(serve):
    import socket

    handle = serve(ws_port=0)
    with socket.create_connection(("127.0.0.1", handle.ws_port), 5) as stream:
        stream.sendall(REQUEST + masked(2, encode(Connect("a", version=V5), V5)[:5]))
        stream.sendall(masked(2, encode(Connect("a", version=V5), V5)[5:] + encode(Pingreq(), V5)))
        data = b""
        while not data.endswith(encode(Pingresp(), V5)):
            data += stream.recv(4096)
    body = data.partition(b"\r\n\r\n")[2]
    decoder = Decoder(V5)
    while body:
        assert body[0] == 0x82
        decoder.feed(body[2 : 2 + body[1]])
        body = body[2 + body[1] :]
    assert isinstance(decoder.next(), Connack)
    assert decoder.next() == Pingresp()


def test_paho_over_websocket(serve):
    from threading import Event

    import paho.mqtt.client as paho

    handle = serve(ws_port=0)
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5, transport="websockets")
    done = Event()
    client.on_connect = lambda *_: client.subscribe("t", 2)
    client.on_subscribe = lambda *_: client.publish("t", b"x" * 70000, 2)
    client.on_message = lambda _client, _data, message: done.set() if message.payload == b"x" * 70000 else None
    client.connect("127.0.0.1", handle.ws_port)
    client.loop_start()
    try:
        assert done.wait(60)
    finally:
        client.disconnect()
        client.loop_stop()
