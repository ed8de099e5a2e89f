"""Raw connections to brokers, for recordings: MQTT and AMQP over TCP, TLS and WebSocket, packet by packet."""

import contextlib
import socket
import ssl
from pathlib import Path
from typing import Any

from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.codec import (
    Connect,
    Disconnect,
    Pingreq,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
)
from mqproof.harness.targets.target import Target

DEADLINE = 10.0
CRLF = "\r\n"
FOLDER = Path(__file__).parent


def in_tls(stream: socket.socket, keylog: Path) -> ssl.SSLSocket:
    """Return the stream in TLS; the keys go to a log beside the capture."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # a certificate made for this recording
    context.keylog_filename = str(keylog)
    return context.wrap_socket(stream)


class Mqtt:
    """One raw MQTT connection: sends packets, waits for answers, acknowledges what is delivered."""

    def __init__(self, target: Target, connect: Connect, *, piece: int = 0) -> None:
        self.version = connect.version
        self.socket = self.connected(target)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.decoder = mqtt.Decoder(self.version)
        self.piece = piece
        self.send(connect)
        assert self.expect("Connack").reason_code == 0

    def connected(self, target: Target) -> Any:
        """Return a stream to the broker."""
        return socket.create_connection((target.host, target.port), DEADLINE)

    def send(self, *packets: Any) -> None:
        """Send packets with one call, or in pieces, each of which becomes a segment."""
        octets = b"".join(mqtt.encode(packet, self.version) for packet in packets)
        size = self.piece or len(octets)
        for at in range(0, len(octets), size):
            self.socket.sendall(octets[at : at + size])

    def next(self) -> Any:
        """Return the next packet, kept as ``last`` too."""
        while (packet := self.decoder.next()) is None:
            octets = self.socket.recv(65536)
            assert octets, "the broker closed the connection"
            self.decoder.feed(octets)
        self.last = packet
        return packet

    def expect(self, name: str) -> Any:
        """Return the next packet, which must be of this type."""
        assert type(self.next()).__name__ == name, f"{self.last} instead of {name}"
        return self.last

    def publish(self, topic: str, payload: bytes, qos: int, packet_id: int, properties: Any = ()) -> None:
        """Publish one message and see its acknowledgement through."""
        self.send(Publish(topic, payload, qos, packet_id=packet_id if qos else None, properties=properties))
        if qos == 1:
            self.expect("Puback")
        elif qos == 2:
            self.expect("Pubrec")
            self.send(Pubrel(packet_id))
            self.expect("Pubcomp")

    def take(self) -> None:
        """Receive one message and acknowledge it."""
        message = self.expect("Publish")
        if message.qos == 1:
            self.send(Puback(message.packet_id))
        elif message.qos == 2:
            self.send(Pubrec(message.packet_id))
            self.expect("Pubrel")
            self.send(Pubcomp(message.packet_id))

    def ping(self) -> None:
        """One PINGREQ and its answer: also a fence, everything before it has arrived."""
        self.send(Pingreq())
        self.expect("Pingresp")

    def end(self) -> None:
        """DISCONNECT, and wait until the broker has closed."""
        self.send(Disconnect())
        self.socket.shutdown(socket.SHUT_WR)
        assert self.socket.recv(1) == b""
        self.socket.close()


class MqttOverTls(Mqtt):
    """The same in TLS; the keys go to the log beside the capture."""

    keylog = FOLDER / "mqtt-tls.keys"

    def connected(self, target: Target) -> Any:
        """Return a stream to the broker's TLS listener."""
        return in_tls(super().connected(target), self.keylog)

    def end(self) -> None:
        """DISCONNECT, and wait until the broker has closed."""
        self.send(Disconnect())
        with contextlib.suppress(ssl.SSLError, ConnectionResetError):
            self.socket.recv(1)
        self.socket.close()


class WebSocket:
    """The client's side of a WebSocket as far as it is needed: each call is one masked frame. RFC 6455."""

    def __init__(self, stream: socket.socket, path: str, subprotocol: str = "") -> None:
        self.stream, self.octets, self.mask = stream, b"", b"\x37\xfa\x21\x3d"
        stream.sendall(
            f"GET {path} HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            f"{f'Sec-WebSocket-Protocol: {subprotocol}' + CRLF if subprotocol else ''}{CRLF}".encode()
        )
        while b"\r\n\r\n" not in self.octets:
            self.octets += self._more()
        head, _, self.octets = self.octets.partition(b"\r\n\r\n")
        assert b" 101 " in head.split(b"\r\n")[0], head

    def _more(self) -> bytes:
        octets = self.stream.recv(65536)
        assert octets, "the broker closed the connection"
        return octets

    def sendall(self, octets: bytes) -> None:
        """Send one binary frame of less than 65,536 octets."""
        size = len(octets)
        head = bytes((0x82, 0x80 | size)) if size < 126 else b"\x82\xfe" + size.to_bytes(2, "big")
        self.stream.sendall(head + self.mask + bytes(octet ^ self.mask[i % 4] for i, octet in enumerate(octets)))

    def recv(self, _: int) -> bytes:
        """Return the payload of the next binary frame; b"" where the broker closes."""
        while True:
            while len(self.octets) < 2 or len(self.octets) < 2 + (2 if self.octets[1] == 126 else 0):
                self.octets += self._more()
            size, at = self.octets[1], 2
            if size == 126:
                size, at = int.from_bytes(self.octets[2:4], "big"), 4
            while len(self.octets) < at + size:
                self.octets += self._more()
            kind, payload, self.octets = self.octets[0] & 15, self.octets[at : at + size], self.octets[at + size :]
            if kind == 2:
                return payload
            if kind == 8:
                return b""

    def setsockopt(self, *arguments: Any) -> None:
        """Set an option of the socket."""
        self.stream.setsockopt(*arguments)

    def shutdown(self, _: int) -> None:
        """Nothing: the broker closes after DISCONNECT."""

    def close(self) -> None:
        """Close the socket."""
        self.stream.close()


class MqttOverWebSocket(Mqtt):
    """The same in a WebSocket."""

    def connected(self, target: Target) -> Any:
        """Return a WebSocket to the broker."""
        return WebSocket(super().connected(target), "/mqtt", "mqtt")

    def end(self) -> None:
        """DISCONNECT; the broker closes."""
        self.send(Disconnect())
        with contextlib.suppress(AssertionError, ConnectionResetError):
            self.socket.recv(1)
        self.socket.close()


class Amqp:
    """One raw AMQP connection with one channel."""

    def __init__(self, target: Target) -> None:
        self.socket = self.connected(target)
        self.decoder = amqp.Decoder()
        self.send(amqp.ProtocolHeader())
        self.expect("connection.start")
        login = b"\0" + (target.user or "").encode() + b"\0" + (target.password or "").encode()
        self.send(amqp.method("connection.start-ok", 0, mechanism="PLAIN", response=login, locale="en_US"))
        self.expect("connection.tune")
        self.send(amqp.method("connection.tune-ok", 0, channel_max=10, frame_max=131072, heartbeat=0))
        self.call("connection.open", 0, virtual_host="/")
        self.call("channel.open")

    def connected(self, target: Target) -> Any:
        """Return a stream to the broker."""
        return socket.create_connection((target.host, target.port), DEADLINE)

    def send(self, *frames: amqp.Frame) -> None:
        """Send frames with one call."""
        self.socket.sendall(b"".join(map(amqp.encode, frames)))

    def expect(self, name: str) -> Any:
        """Return the next frame, which must be this method, or "header" or "body"."""
        while (frame := self.decoder.next()) is None:
            octets = self.socket.recv(65536)
            assert octets, f"the broker closed the connection before {name}"
            self.decoder.feed(octets)
        found = {"ContentHeader": "header", "Body": "body"}.get(type(frame).__name__) or getattr(frame, "name", "")
        assert found == name, f"{frame} instead of {name}"
        return frame

    def call(self, name: str, channel: int = 1, **arguments: Any) -> Any:
        """Send a synchronous method and return its answer."""
        self.send(amqp.method(name, channel, **arguments))
        return self.expect(f"{name}-ok")

    def get(self, queue: str) -> int:
        """Fetch one message; returns its delivery tag."""
        self.send(amqp.method("basic.get", queue=queue))
        tag = self.expect("basic.get-ok").arguments["delivery_tag"]
        self.expect("header")
        self.expect("body")
        return int(tag)

    def take(self, *, body: bool = True) -> int:
        """Receive one message; returns its delivery tag. ``body``: whether it has one."""
        tag = self.expect("basic.deliver").arguments["delivery_tag"]
        self.expect("header")
        if body:
            self.expect("body")
        return int(tag)

    def end(self) -> None:
        """Close channel and connection."""
        self.call("channel.close", reply_code=200)
        self.call("connection.close", 0, reply_code=200)
        self.socket.close()


class AmqpOverTls(Amqp):
    """The same in TLS; the keys go to the log beside the capture."""

    keylog = FOLDER / "amqp-tls.keys"

    def connected(self, target: Target) -> Any:
        """Return a stream to the broker's TLS listener."""
        return in_tls(super().connected(target), self.keylog)


class AmqpOverWebSocket(Amqp):
    """The same in a WebSocket, for which no subprotocol is asked."""

    def connected(self, target: Target) -> Any:
        """Return a WebSocket to the broker, or to the bridge before it."""
        return WebSocket(super().connected(target), "/ws")
