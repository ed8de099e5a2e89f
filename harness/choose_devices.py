"""The devices and consumers of a workload, for a sample that is captured: one write for each message, nothing hidden.

Client libraries differ in how they cut messages into packets; these write each message (method, header and body; or
PUBLISH) at once, which is the least that the protocol costs. A message is sent when the one before it is done.
"""

import select
import socket
import ssl
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Final

from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.targets.target import Target
from mqproof.harness.wires.base import tls_context
from mqproof.harness.workload import Flow

ANSWER_SECONDS: Final = 10.0
HEADER_FRAME: Final = 12  # octets of a table with one long string, beside name and value (section 4.2.5.5)
KEEP_ALIVE: Final = 60  # seconds, agreed with the broker: longer than a sample takes
SESSION_SECONDS: Final = 600  # for which a session stays whose client is away


class NoAnswer(Exception):
    """The broker did not answer in time, or refused; one line."""


class Device(ABC):
    """One connection, from its first octet to its last. ``port``: its own, by which it is found in a capture.

    On a broker that is not ours, topics and exchanges carry the name's letters as a prefix; on ours they are those of
    the workload, so that they cost what they cost. ``number``: the device that it stands for.
    """

    def __init__(self, target: Target, name: str, number: int = 1) -> None:
        self.target, self.name, self.number = target, name, number
        self.prefix = "" if target.is_ours else name.rstrip("0123456789")
        self.socket = _connected(target)
        self.port = int(self.socket.getsockname()[1])
        self.received = 0  # messages
        self.decoder: Any = self._decoder()

    @property
    def tls(self) -> str:
        """The version of TLS, such as ``TLSv1.3``; empty without it."""
        return self.socket.version() or "" if isinstance(self.socket, ssl.SSLSocket) else ""

    @abstractmethod
    def open(self) -> None:
        """Log in."""

    @abstractmethod
    def publish(self, flow: Flow, payload: bytes, number: int) -> None:
        """Publish one message, and return when its guarantee is met."""

    @abstractmethod
    def subscribe(self, flow: Flow) -> None:
        """Receive the messages of a flow."""

    @abstractmethod
    def ping(self) -> None:
        """Give a sign of life, as the protocol has it."""

    @abstractmethod
    def close(self) -> None:
        """Say goodbye and close."""

    @abstractmethod
    def _decoder(self) -> Any: ...

    @abstractmethod
    def _take(self, frame: Any) -> None:
        """Do what is owed for what the broker sends unasked."""

    def hang_up(self) -> None:
        """Close without a word."""
        self.socket.close()

    def serve(self, seconds: float) -> None:
        """Take what comes for so long."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._readable(left) and not self._feed():
                return
            while (frame := self.decoder.next()) is not None:
                self._take(frame)

    def wait(self, *kinds: Any) -> Any:
        """Return the next frame of one of these kinds. Raises NoAnswer."""
        until = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < until:
            while (frame := self.decoder.next()) is not None:
                if self._is_one_of(frame, kinds):
                    return frame
                self._take(frame)
            if self._readable(max(0.0, until - time.monotonic())) and not self._feed():
                break
        raise NoAnswer(f"{self.target.redacted_url}: no answer came to {self.name}, which awaited {kinds[0]}")

    def _is_one_of(self, frame: Any, kinds: Sequence[Any]) -> bool:
        return isinstance(frame, amqp.Method) and frame.name in kinds

    def _readable(self, seconds: float) -> bool:
        """Return whether something comes within so many seconds; TLS may hold some of it already."""
        has_some = isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0
        return has_some or bool(select.select([self.socket], [], [], seconds)[0])

    def _feed(self) -> bool:
        """Take what is there; return whether the connection still stands."""
        self.socket.settimeout(0)
        try:
            octets = self.socket.recv(1 << 16)
        except ssl.SSLWantReadError:  # a part of a record, or one that is TLS's own
            return True
        finally:
            self.socket.settimeout(ANSWER_SECONDS)
        self.decoder.feed(octets)
        return bool(octets)


def _connected(target: Target) -> socket.socket:
    """Return a connection, secured where the target is. Raises OSError."""
    plain = socket.create_connection((target.host, target.port), ANSWER_SECONDS)
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return plain if target.tls is None else tls_context(target).wrap_socket(plain, server_hostname=target.host)


class AmqpDevice(Device):
    """AMQP 0-9-1: one channel, publisher confirms where the flow asks for a guarantee."""

    confirms = False

    def _decoder(self) -> amqp.Decoder:
        return amqp.Decoder()

    def send(self, *frames: amqp.Frame) -> None:
        """Write frames at once."""
        self.socket.sendall(b"".join(map(amqp.encode, frames)))

    def call(self, name: str, answer: str, channel: int = 1, **arguments: Any) -> amqp.Method:
        """Say one method and return its answer. Raises NoAnswer."""
        self.send(amqp.method(name, channel, **arguments))
        found: amqp.Method = self.wait(answer)
        return found

    def open(self) -> None:
        """From the protocol header to an open channel."""
        self.send(amqp.ProtocolHeader())
        self.wait("connection.start")
        login = f"\0{self.target.user or ''}\0{self.target.password or ''}".encode()
        properties = {"product": "mqproof", "capabilities": {"publisher_confirms": True}}
        tune = self.call(
            "connection.start-ok", "connection.tune", 0,
            client_properties=properties, mechanism="PLAIN", response=login, locale="en_US",
        )  # fmt: skip
        limits = {key: tune.arguments[key] for key in ("channel_max", "frame_max")}
        self.send(amqp.method("connection.tune-ok", 0, **limits, heartbeat=KEEP_ALIVE))
        self.call("connection.open", "connection.open-ok", 0, virtual_host=self.target.vhost)
        self.call("channel.open", "channel.open-ok")

    def confirm(self) -> None:
        """Ask for confirms, once."""
        if not self.confirms:
            self.call("confirm.select", "confirm.select-ok")
            self.confirms = True

    def publish(self, flow: Flow, payload: bytes, number: int) -> None:
        """Publish to a topic exchange, persistently where the flow says so."""
        self.send(*self.frames(flow, payload))
        if flow.qos:
            self.wait("basic.ack")

    def frames(self, flow: Flow, payload: bytes) -> list[amqp.Frame]:
        """Return a message's frames."""
        properties: dict[str, Any] = {"delivery_mode": 2} if flow.persistent else {}
        if flow.properties:
            properties["headers"] = {"x": "p" * max(0, flow.properties - HEADER_FRAME)}
        key = flow.key.replace("{device}", str(self.number))
        exchange = self.exchange_of(flow)
        return amqp.content("basic.publish", body=payload, properties=properties, exchange=exchange, routing_key=key)

    def exchange_of(self, flow: Flow) -> str:
        """Return the topic exchange of a flow: its own, else amq.topic; on somebody else's broker one of ours."""
        return self.prefix or flow.exchange or "amq.topic"

    def declare(self, flow: Flow) -> None:
        """Make the exchange of a flow; it goes with its last binding."""
        exchange = self.exchange_of(flow)
        if not exchange.startswith("amq."):
            self.call("exchange.declare", "exchange.declare-ok", exchange=exchange, type="topic", auto_delete=True)

    def subscribe(self, flow: Flow) -> None:
        """Consume from a queue of our own, bound to the flow's key."""
        self.declare(flow)
        queue = self.call("queue.declare", "queue.declare-ok", exclusive=True).arguments["queue"]
        key = ".".join("*" if "{device}" in word else word for word in flow.key.split("."))
        self.call("queue.bind", "queue.bind-ok", queue=queue, exchange=self.exchange_of(flow), routing_key=key)
        tag = f"{flow.name}-{flow.qos}"
        self.call("basic.consume", "basic.consume-ok", queue=queue, no_ack=flow.qos == 0, consumer_tag=tag)

    def ping(self) -> None:
        """Send a heartbeat frame; nothing answers it."""
        self.send(amqp.Heartbeat())

    def close(self) -> None:
        """Close channel and connection."""
        self.call("connection.close", "connection.close-ok", 0, reply_code=200)
        self.socket.close()

    def _take(self, frame: Any) -> None:
        if isinstance(frame, amqp.Method) and frame.name == "basic.deliver":
            self.received += 1
            if not frame.arguments["consumer_tag"].endswith("-0"):
                self.send(amqp.method("basic.ack", delivery_tag=frame.arguments["delivery_tag"]))
        elif isinstance(frame, amqp.Method) and frame.name.endswith(".close"):
            raise NoAnswer(f"{self.target.redacted_url}: {frame.arguments['reply_text']}")


class MqttDevice(Device):
    """MQTT: 5.0 where the flow has properties and the broker offers it, else 3.1.1."""

    version = Version.V3_1_1
    clean = True

    def _decoder(self) -> mqtt.Decoder:
        return mqtt.Decoder(self.version)

    def use(self, version: Version) -> None:
        """Speak this version; before ``open``."""
        self.version = version
        self.decoder = self._decoder()

    def send(self, packet: mqtt.Packet) -> None:
        """Write one packet."""
        self.socket.sendall(mqtt.encode(packet, self.version))

    def open(self) -> None:
        """CONNECT to CONNACK."""
        password = self.target.password.encode() if self.target.password and self.target.user else None
        stays = self.version is Version.V5_0 and not self.clean
        self.send(
            mqtt.Connect(
                self.name, self.clean, KEEP_ALIVE, user_name=self.target.user, password=password,
                version=self.version, properties=(("session_expiry_interval", SESSION_SECONDS),) if stays else (),
            )
        )  # fmt: skip
        connack = self.wait(mqtt.Connack)
        if connack.reason_code:
            raise NoAnswer(f"{self.target.redacted_url}: CONNACK {connack.reason_code:#04x}")

    def publish(self, flow: Flow, payload: bytes, number: int) -> None:
        """PUBLISH, and the rest of its QoS; without a place for properties they are part of the payload."""
        self.send(self.packet(flow, payload, number))
        if flow.qos == 1:
            self.wait(mqtt.Puback)
        elif flow.qos == 2:
            self.wait(mqtt.Pubrec)
            self.send(mqtt.Pubrel(number))
            self.wait(mqtt.Pubcomp)

    def packet(self, flow: Flow, payload: bytes, number: int) -> mqtt.Publish:
        """Return a message's packet."""
        more: tuple[tuple[str, object], ...] = ()
        if flow.properties and self.version is Version.V5_0:
            more = (("user_property", ("x", "p" * max(0, flow.properties - 6))),)
        elif flow.properties:
            payload += b"p" * flow.properties
        topic, identifier = self.topic_of(flow, str(self.number)), number if flow.qos else None
        return mqtt.Publish(topic, payload, flow.qos, flow.retain, False, identifier, more)

    def subscribe(self, flow: Flow) -> None:
        """Subscribe to the flow's topic of all devices."""
        self.send(mqtt.Subscribe(1, (mqtt.Subscription(self.topic_of(flow), flow.qos),)))
        self.wait(mqtt.Suback)

    def topic_of(self, flow: Flow, number: str = "") -> str:
        """Return the topic of a flow for a device's number, or the filter for all devices."""
        levels = ("+" if "{device}" in level else level for level in flow.topic.split("/"))
        topic = flow.topic.replace("{device}", number) if number else "/".join(levels)
        return f"{self.prefix}/{topic}" if self.prefix else topic

    def ping(self) -> None:
        """PINGREQ and its answer."""
        self.send(mqtt.Pingreq())
        self.wait(mqtt.Pingresp)

    def close(self) -> None:
        """DISCONNECT."""
        self.send(mqtt.Disconnect())
        self.socket.close()

    def clear(self, flows: Sequence[Flow]) -> None:
        """Remove the messages that the broker retains for us."""
        for flow in flows:
            if flow.retain:
                self.send(mqtt.Publish(self.topic_of(flow, str(self.number)), b"", 0, True))

    def _is_one_of(self, frame: Any, kinds: Sequence[Any]) -> bool:
        return isinstance(frame, tuple(kinds))

    def _take(self, frame: Any) -> None:
        if isinstance(frame, mqtt.Publish):
            self.received += 1
            if frame.qos == 1:
                self.send(mqtt.Puback(frame.packet_id or 0))
            elif frame.qos == 2:
                self.send(mqtt.Pubrec(frame.packet_id or 0))
        elif isinstance(frame, mqtt.Pubrel):
            self.send(mqtt.Pubcomp(frame.packet_id))


def device(target: Target, name: str, flows: Sequence[Flow] = (), number: int = 1) -> Device:
    """Return a device that has logged in. Raises NoAnswer, OSError."""
    made: Device
    if target.protocol == "amqp":
        made = AmqpDevice(target, name, number)
    else:
        made = MqttDevice(target, name, number)
        if "mqtt-5.0" in target.capabilities and any(flow.properties for flow in flows):
            made.use(Version.V5_0)
    made.open()
    return made
