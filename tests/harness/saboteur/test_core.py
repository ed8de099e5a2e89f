"""Faults act on decoded frames; what they do not look at passes octet by octet."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.saboteur.core import (
    FAULTS,
    AmqpConn,
    AmqpContentFault,
    AmqpFault,
    AmqpResult,
    Fault,
    MqttConn,
    MqttFault,
    MqttResult,
    fault,
    passage_for,
)
from mqproof.harness.statements.registry import UnknownStatement
from mqproof.harness.targets.target import Target


@contextmanager
def between(fault: Fault) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A client's and a server's socket with the fault between them."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ProxyLoop() as loop:
        target = Target("peer", "amqp", "127.0.0.1", listener.getsockname()[1])
        proxy = loop.proxy(target, passage_for(fault))
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as client:
            server, _ = listener.accept()
            server.settimeout(60)
            with server:
                yield client, server


def receive(connection: socket.socket, size: int) -> bytes:
    octets = b""
    while len(octets) < size and (chunk := connection.recv(size - len(octets))):
        octets += chunk
    return octets


class DropAcks(AmqpFault):
    def from_broker(self, frame: amqp.Frame, conn: AmqpConn) -> AmqpResult:
        return [] if isinstance(frame, amqp.Method) and frame.name == "basic.ack" else None


class Replace(AmqpContentFault):
    def message_from_client(
        self, method: amqp.Method, header: amqp.ContentHeader, body: bytes, conn: AmqpConn
    ) -> AmqpResult:
        if body == b"keep":
            return None
        return amqp.content(method.name, method.channel, body=body[::-1], **method.arguments)


class TwicePublished(MqttFault):
    def from_broker(self, packet: mqtt.Packet, conn: MqttConn) -> MqttResult:
        return [packet, packet] if isinstance(packet, mqtt.Publish) else None


ACK = amqp.encode(amqp.method("basic.ack", delivery_tag=1))
NACK = amqp.encode(amqp.method("basic.nack", delivery_tag=1))


def test_fault_drops_what_it_names_and_nothing_else() -> None:
    with between(DropAcks()) as (client, server):
        server.sendall(ACK + NACK + ACK + NACK)
        assert receive(client, 2 * len(NACK)) == NACK * 2


def test_frames_may_arrive_octet_by_octet() -> None:
    with between(DropAcks()) as (client, server):
        for octet in ACK + NACK:
            server.sendall(bytes([octet]))
        assert receive(client, len(NACK)) == NACK


def test_direction_without_interest_passes_half_frames_at_once() -> None:
    with between(DropAcks()) as (client, server):
        client.sendall(ACK[:5])
        assert receive(server, 5) == ACK[:5]


def test_octets_that_are_no_frame_pass_untouched() -> None:
    with between(DropAcks()) as (client, server):
        server.sendall(NACK + b"\x07nonsense")
        assert receive(client, len(NACK) + 9) == NACK + b"\x07nonsense"
        server.sendall(ACK)
        assert receive(client, len(ACK)) == ACK


def test_unfinished_frame_passes_when_its_sender_ends() -> None:
    with between(DropAcks()) as (client, server):
        server.sendall(NACK[:4])
        server.shutdown(socket.SHUT_WR)
        assert receive(client, 100) == NACK[:4]


def test_messages_are_seen_whole() -> None:
    sent = b"".join(map(amqp.encode, amqp.content("basic.publish", body=b"abcdef", frame_max=11, routing_key="k")))
    expected = b"".join(map(amqp.encode, amqp.content("basic.publish", body=b"fedcba", routing_key="k")))
    kept = b"".join(map(amqp.encode, amqp.content("basic.publish", body=b"keep", routing_key="k")))
    with between(Replace()) as (client, server):
        client.sendall(sent + kept)
        assert receive(server, len(expected + kept)) == expected + kept


@pytest.mark.parametrize("version", [Version.V3_1_1, Version.V5_0])
def test_mqtt_is_read_in_the_version_of_its_connect(version: Version) -> None:
    publish = mqtt.encode(mqtt.Publish("a", b"x", qos=1, packet_id=3), version)
    with between(TwicePublished()) as (client, server):
        connect = mqtt.encode(mqtt.Connect("id", version=version), version)
        client.sendall(connect)
        assert receive(server, len(connect)) == connect
        server.sendall(publish)
        assert receive(client, 2 * len(publish)) == publish * 2


def test_fault_that_names_no_statement_is_refused() -> None:
    with pytest.raises(UnknownStatement, match="no statement is called"):
        fault("nonsense", "amqp-0-9-1:no/such", says="nothing")(DropAcks)
    assert "nonsense" not in FAULTS
