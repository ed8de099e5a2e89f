"""Makes the golden captures again: small conversations with the real brokers, each with the account it must give.

    python captures/record.py [NAME...]

needs dumpcap (as root), mosquitto, rabbitmq-server, openssl and capinfos. Each capture gets a TOML file: how it was
made, with which versions, and what an analyzer must find. What it must find follows from what was sent, and is written
down here beside it, by hand; sizes of the file come from capinfos. Nothing in the TOML comes from our own analyzer.
"""

import contextlib
import inspect
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    Subscribe,
    Subscription,
    Will,
)
from mqproof.dissectors.mqtt.tables import Version
from mqproof.dissectors.packets.pcap import Packet, read_packets, write_packets
from mqproof.harness.recording.record import record as recording
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.drivers.ports import Port
from mqproof.harness.targets.target import Target

FOLDER = Path(__file__).parent
DEADLINE = 10.0
KEYLOG = FOLDER / "mqtt-tls.keys"
Expected = dict[str, Any]


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

    def connected(self, target: Target) -> Any:
        """Return a stream to the broker's TLS listener."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # a certificate made for this recording
        context.keylog_filename = str(KEYLOG)
        return context.wrap_socket(super().connected(target))

    def end(self) -> None:
        """DISCONNECT, and wait until the broker has closed."""
        self.send(Disconnect())
        with contextlib.suppress(ssl.SSLError, ConnectionResetError):
            self.socket.recv(1)
        self.socket.close()


class WebSocket:
    """The client's side of a WebSocket as far as MQTT needs it: each call is one masked frame. RFC 6455."""

    def __init__(self, stream: socket.socket, path: str) -> None:
        self.stream, self.octets, self.mask = stream, b"", b"\x37\xfa\x21\x3d"
        stream.sendall(
            f"GET {path} HTTP/1.1\r\nHost: broker\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: mqtt\r\n\r\n".encode()
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
        return WebSocket(super().connected(target), "/mqtt")

    def end(self) -> None:
        """DISCONNECT; the broker closes."""
        self.send(Disconnect())
        with contextlib.suppress(AssertionError, ConnectionResetError):
            self.socket.recv(1)
        self.socket.close()


class Amqp:
    """One raw AMQP connection with one channel."""

    def __init__(self, target: Target) -> None:
        self.socket = socket.create_connection((target.host, target.port), DEADLINE)
        self.decoder = amqp.Decoder()
        self.send(amqp.ProtocolHeader())
        self.expect("connection.start")
        login = b"\0" + (target.user or "").encode() + b"\0" + (target.password or "").encode()
        self.send(amqp.method("connection.start-ok", 0, mechanism="PLAIN", response=login, locale="en_US"))
        self.expect("connection.tune")
        self.send(amqp.method("connection.tune-ok", 0, channel_max=10, frame_max=131072, heartbeat=0))
        self.call("connection.open", 0, virtual_host="/")
        self.call("channel.open")

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

    def end(self) -> None:
        """Close channel and connection."""
        self.call("channel.close", reply_code=200)
        self.call("connection.close", 0, reply_code=200)
        self.socket.close()


AMQP_OPENING = {
    "protocol-header": 1, "connection.start": 1, "connection.start-ok": 1, "connection.tune": 1,
    "connection.tune-ok": 1, "connection.open": 1, "connection.open-ok": 1, "channel.open": 1, "channel.open-ok": 1,
    "channel.close": 1, "channel.close-ok": 1, "connection.close": 1, "connection.close-ok": 1,
}  # fmt: skip


def mqtt_all_qos(target: Target, version: Version, properties: Any = (), kind: type[Mqtt] = Mqtt) -> Expected:
    """Five messages at each QoS, 10 octets each, from one publisher to one subscriber; one PINGREQ each."""
    subscriber = kind(target, Connect("subscriber", version=version))
    subscriber.send(Subscribe(1, (Subscription("home/#", 2),)))
    subscriber.expect("Suback")
    publisher = kind(target, Connect("publisher", version=version))
    for number in range(15):
        publisher.publish(f"home/room{number % 2}", b"0123456789", number // 5, number + 1, properties)
        subscriber.take()
    subscriber.ping()
    publisher.ping()
    subscriber.end()
    publisher.end()
    return {
        "kinds": {
            "CONNECT": 2, "CONNACK": 2, "SUBSCRIBE": 1, "SUBACK": 1, "PUBLISH": 30, "PUBACK": 10, "PUBREC": 10,
            "PUBREL": 10, "PUBCOMP": 10, "PINGREQ": 2, "PINGRESP": 2, "DISCONNECT": 2,
        },
        "payload": 300,
        "connections": 2,
        "published": {"qos0": 5, "qos1": 5, "qos2": 5},
        "delivered": {"qos0": 5, "qos1": 5, "qos2": 5},
        "topics": {"home/room0": 16, "home/room1": 14},
    }  # fmt: skip


def mqtt_mid_connection(target: Target) -> Iterator[Expected]:
    """Both clients were connected, and the subscription made, before the capture began."""
    subscriber = Mqtt(target, Connect("subscriber"))
    subscriber.send(Subscribe(1, (Subscription("home/#", 1),)))
    subscriber.expect("Suback")
    publisher = Mqtt(target, Connect("publisher"))
    yield {}  # from here on it is captured
    for number in range(10):
        publisher.publish("home/room", b"0123456789", 1, number + 1)
        subscriber.take()
    subscriber.ping()
    publisher.ping()
    subscriber.end()
    publisher.end()
    yield {
        "kinds": {"PUBLISH": 20, "PUBACK": 20, "PINGREQ": 2, "PINGRESP": 2, "DISCONNECT": 2},
        "payload": 200, "connections": 2, "published": {"qos1": 10}, "delivered": {"qos1": 10},
        "topics": {"home/room": 20},
    }  # fmt: skip


def mqtt_straddled(target: Target) -> Expected:
    """Forty messages of 300 octets at QoS 0 in segments of 310: a remaining length falls across two of them."""
    publisher = Mqtt(target, Connect("publisher"))
    publisher.piece = 310  # a packet has 1 + 2 + 2 + 3 + 300 = 308 octets: 2 of the second are in the first segment
    publisher.send(*(Publish("a/b", b"x" * 300) for _ in range(40)))
    publisher.ping()
    publisher.end()
    return {
        "kinds": {"CONNECT": 1, "CONNACK": 1, "PUBLISH": 40, "PINGREQ": 1, "PINGRESP": 1, "DISCONNECT": 1},
        "payload": 12000, "connections": 1, "published": {"qos0": 40}, "topics": {"a/b": 40},
    }  # fmt: skip


def mqtt_large_connect(target: Target) -> Expected:
    """A CONNECT with a will of 3,000 octets in three segments."""
    will = Will("last/words", b"w" * 3000, qos=1)
    publisher = Mqtt(target, Connect("publisher", will=will, user_name="somebody", password=b"unused"), piece=1200)
    publisher.piece = 0
    publisher.ping()
    publisher.end()
    kinds = {"CONNECT": 1, "CONNACK": 1, "PINGREQ": 1, "PINGRESP": 1, "DISCONNECT": 1}
    return {"kinds": kinds, "payload": 0, "connections": 1}


def mqtt_logged_in(target: Target) -> Expected:
    """Five messages at QoS 1 of a client that subscribes to itself, with user name and password (masked here)."""
    login = {"user_name": target.user, "password": (target.password or "").encode()}
    client = Mqtt(target, Connect("client", **login))
    client.send(Subscribe(1, (Subscription("a/+", 1),)))
    client.expect("Suback")
    for number in range(5):
        client.send(Publish("a/b", b"12345", 1, packet_id=number + 2))
        for _ in range(2):  # the acknowledgement and the message come in either order
            if type(client.next()).__name__ == "Publish":
                client.send(Puback(client.last.packet_id))
    client.ping()
    client.end()
    return {
        "kinds": {
            "CONNECT": 1, "CONNACK": 1, "SUBSCRIBE": 1, "SUBACK": 1, "PUBLISH": 10, "PUBACK": 10, "PINGREQ": 1,
            "PINGRESP": 1, "DISCONNECT": 1,
        },
        "payload": 50, "connections": 1, "published": {"qos1": 5}, "delivered": {"qos1": 5}, "topics": {"a/b": 10},
    }  # fmt: skip


def amqp_messages(target: Target) -> Expected:
    """Ten confirmed messages through a topic exchange to a consumer that acknowledges; two fetched with basic.get."""
    talk = Amqp(target)
    talk.call("confirm.select")
    queue = talk.call("queue.declare", exclusive=True).arguments["queue"]
    talk.call("queue.bind", queue=queue, exchange="amq.topic", routing_key="user.#")
    for number in range(12):
        properties = {"content_type": "text/plain", "delivery_mode": 1, "headers": {"number": number, "text": "ä"}}
        talk.send(
            *amqp.content(
                "basic.publish", 1, body=b"b" * 100, properties=properties,
                exchange="amq.topic", routing_key=f"user.{number % 2}.error",
            )
        )  # fmt: skip
        talk.expect("basic.ack")
    for _ in range(2):
        talk.send(amqp.method("basic.ack", delivery_tag=talk.get(queue)))
    talk.call("basic.consume", queue=queue, consumer_tag="c")
    for _ in range(10):
        delivery = talk.expect("basic.deliver")
        talk.expect("header")
        talk.expect("body")
        talk.send(amqp.method("basic.ack", delivery_tag=delivery.arguments["delivery_tag"]))
    talk.send(amqp.method("basic.get", queue=queue))
    talk.expect("basic.get-empty")
    talk.end()
    return {
        "kinds": AMQP_OPENING | {
            "confirm.select": 1, "confirm.select-ok": 1, "queue.declare": 1, "queue.declare-ok": 1, "queue.bind": 1,
            "queue.bind-ok": 1, "basic.publish": 12, "basic.ack": 24, "basic.get": 3, "basic.get-ok": 2,
            "basic.get-empty": 1, "basic.consume": 1, "basic.consume-ok": 1, "basic.deliver": 10, "header": 24,
            "body": 24,
        },
        "payload": 2400, "connections": 1, "published": {"all": 12}, "delivered": {"all": 12},
        "routing_keys": {"amq.topic/user.0.error": 12, "amq.topic/user.1.error": 12},
    }  # fmt: skip


def amqp_large_body(target: Target) -> Expected:
    """One message of 140,000 octets, in two body frames of at most 131,072 octets, there and back; one empty one."""
    talk = Amqp(target)
    queue = talk.call("queue.declare", exclusive=True).arguments["queue"]
    for body in (b"z" * 140_000, b""):
        talk.send(*amqp.content("basic.publish", 1, body=body, frame_max=131072, exchange="", routing_key=queue))
        talk.send(amqp.method("basic.get", queue=queue, no_ack=True))
        talk.expect("basic.get-ok")
        talk.expect("header")
        for _ in range(2 if body else 0):
            talk.expect("body")
    talk.end()
    return {
        "kinds": AMQP_OPENING | {
            "queue.declare": 1, "queue.declare-ok": 1, "basic.publish": 2, "basic.get": 2, "basic.get-ok": 2,
            "header": 4, "body": 4,
        },
        "payload": 280_000, "connections": 1, "published": {"all": 2}, "delivered": {"all": 2},
    }  # fmt: skip


def swapped(packets: list[Packet]) -> list[Packet]:
    """Swap every fifth packet with data with the next one of its direction, and repeat every seventh."""
    result: list[Packet] = list(packets)
    data = [i for i, packet in enumerate(packets) if len(packet.data) > 66]
    for first in data[20::5]:
        later = [i for i in data if i > first and result[i].data[34:38] == result[first].data[34:38]]
        if later and later[0] - first <= 2:
            result[first], result[later[0]] = result[later[0]], result[first]
    repeated = []
    for number, packet in enumerate(result):
        repeated += [packet, packet] if number in data[7::7] else [packet]
    return repeated


def tagged(packets: list[Packet]) -> list[Packet]:
    """Two VLAN tags (QinQ) after the addresses."""
    tags = b"\x88\xa8\x00\x05\x81\x00\x00\x07"
    return [Packet(p.time, p.data[:12] + tags + p.data[12:], p.original + 8, p.linktype) for p in packets]


REAL: dict[str, tuple[str, str, Callable[[Target], Any]]] = {
    "mqtt-3.1.1": ("mosquitto", "mqtt", lambda target: mqtt_all_qos(target, Version.V3_1_1)),
    "mqtt-5.0": (
        "mosquitto", "mqtt",
        lambda target: mqtt_all_qos(target, Version.V5_0, (("content_type", "text"), ("user_property", ("k", "v")))),
    ),
    "mqtt-3.1": ("mosquitto", "mqtt", lambda target: mqtt_all_qos(target, Version.V3_1)),
    "mqtt-ipv6": ("mosquitto", "ipv6", lambda target: mqtt_all_qos(target, Version.V3_1_1)),
    "mqtt-straddled": ("mosquitto", "mqtt", mqtt_straddled),
    "mqtt-large-connect": ("mosquitto", "mqtt", mqtt_large_connect),
    "mqtt-mid-connection": ("mosquitto", "mqtt", mqtt_mid_connection),
    "mqtt-websocket": (
        "mosquitto", "websocket", lambda target: mqtt_all_qos(target, Version.V3_1_1, kind=MqttOverWebSocket),
    ),
    "mqtt-tls": ("mosquitto", "tls", lambda target: mqtt_all_qos(target, Version.V5_0, kind=MqttOverTls)),
    "mqtt-rabbitmq": ("rabbitmq", "mqtt", mqtt_logged_in),
    "amqp-messages": ("rabbitmq", "amqp", amqp_messages),
    "amqp-large-body": ("rabbitmq", "amqp", amqp_large_body),
}  # fmt: skip
DERIVED: dict[str, tuple[str, str, Callable[[list[Packet]], list[Packet]]]] = {
    "mqtt-swapped": ("mqtt-3.1.1", "segments swapped and repeated", swapped),
    "mqtt-vlan": ("mqtt-3.1.1", "two VLAN tags added", tagged),
    "amqp-swapped": ("amqp-messages", "segments swapped and repeated", swapped),
}


def record_real(name: str, target: Target, talk: Callable[[Target], Any], made: str) -> None:
    """Capture one conversation and write it down."""
    path = FOLDER / f"{name}.pcapng"
    with tempfile.TemporaryDirectory() as folder:
        talking = talk(target) if inspect.isgeneratorfunction(talk) else None
        if talking is not None:
            next(talking)
        with recording([target], Path(folder), kind="dumpcap") as made_here:
            expected = talk(target) if talking is None else next(talking)
        shutil.copyfile(made_here.files[0], path)
    path.chmod(0o644)
    says = " ".join((talk.__doc__ or mqtt_all_qos.__doc__ or "").split())
    describe(name, f"{says} {made}", expected)


def describe(name: str, made: str, expected: Expected) -> None:
    """Write the TOML file beside a capture."""
    lines = [f'made = "{made}"', "", "# From what was sent."]
    lines += [f"{key} = {value}" for key, value in expected.items() if not isinstance(value, dict)]
    lines += ["", "# From capinfos.", "[file]"]
    lines += [f"{key} = {value}" for key, value in capinfos(FOLDER / f"{name}.pcapng").items()]
    lines += ["", "# From what was sent."]
    for key, table in expected.items():
        if isinstance(table, dict):
            lines += [f"[{key}]", *(f'"{inner}" = {value}' for inner, value in table.items()), ""]
    (FOLDER / f"{name}.toml").write_text("\n".join(lines).rstrip() + "\n")


def capinfos(path: Path) -> dict[str, int]:
    """Return packets, captured octets and octets on the wire, as Wireshark's own tool counts them."""
    printed = subprocess.run(
        ["capinfos", "-T", "-r", "-M", "-c", "-d", str(path)], capture_output=True, text=True, check=True
    ).stdout.split("\t")
    return {"packets": int(printed[1]), "captured": int(printed[2])}


def reached(broker: Any, way: str, ports: Mapping[str, Port]) -> Target:
    """Return the target at one of the broker's listeners."""
    if way not in ("ipv6", "tls", "websocket"):
        return broker.target(way)  # type: ignore[no-any-return]
    target: Target = broker.target("mqtt")
    if way == "websocket":
        assert target.websocket is not None, "this build of mosquitto knows no WebSocket"
        return target.with_(port=target.websocket.port)
    return target.with_(host="::1" if way == "ipv6" else "127.0.0.1", port=ports[way].number)


def listeners(folder: Path, ports: Mapping[str, Port]) -> dict[str, str]:
    """Return two more listeners of mosquitto's: a name with a blank is another key, and the same word to it."""
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "1", "-subj", "/CN=broker"]
    command += ["-keyout", str(folder / "key"), "-out", str(folder / "certificate")]
    subprocess.run(command, capture_output=True, check=True)
    return {
        "listener ": f"{ports['ipv6'].number} ::1", "allow_anonymous ": "true",
        "listener  ": f"{ports['tls'].number} 127.0.0.1", "allow_anonymous  ": "true",
        "certfile": str(folder / "certificate"), "keyfile": str(folder / "key"),
    }  # fmt: skip


def main(names: Sequence[str]) -> None:
    """Record the named captures, or all."""
    wanted = set(names) or set(REAL) | set(DERIVED)
    for driver in ("mosquitto", "rabbitmq"):
        mine = {name: entry for name, entry in REAL.items() if entry[0] == driver and name in wanted}
        if not mine:
            continue
        with tempfile.TemporaryDirectory() as folder:
            ports = {way: Port.reserve() for way in ("ipv6", "tls")}
            options = listeners(Path(folder), ports) if driver == "mosquitto" else {}
            with DRIVERS[driver].start(options=options) as broker:
                for name, (_, way, talk) in mine.items():
                    target = reached(broker, way, ports)
                    made = f"With {target.product} {target.version}, dumpcap on loopback."
                    record_real(name, target, talk, made)
    for name, (source, what, change) in DERIVED.items():
        if name in wanted:
            packets = list(read_packets(FOLDER / f"{source}.pcapng"))
            path = FOLDER / f"{name}.pcapng"
            write_packets(path, change(packets), packets[0].linktype)
            path.chmod(0o644)
            derive(name, source, what)


def derive(name: str, source: str, what: str) -> None:
    """Write the TOML of a changed capture: what was sent is the same, the file is not."""
    table = tomllib.loads((FOLDER / f"{source}.toml").read_text())
    table.pop("file")
    describe(name, f"{source}.pcapng with {what}.", {key: value for key, value in table.items() if key != "made"})


if __name__ == "__main__":
    main(sys.argv[1:])
