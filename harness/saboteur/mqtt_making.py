"""Short ways to write the faults of MQTT brokers.

``4:x`` stands for ``mqtt-3.1.1:MQTT-x`` and ``5:x`` for ``mqtt-5.0:MQTT-x``; ids stand in one text, between spaces.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from mqproof.dissectors.errors import Malformed
from mqproof.dissectors.mqtt.codec import Publish, prop
from mqproof.dissectors.mqtt.fields import read_varint
from mqproof.harness.saboteur.core import MqttConn, MqttFault, MqttResult, fault
from mqproof.harness.saboteur.core import defect as register_defect

Act = Callable[[Any, MqttConn], MqttResult]
SPECS = {"4": "mqtt-3.1.1", "5": "mqtt-5.0"}


def ids(text: str) -> list[str]:
    """Return the qualified ids that ``text`` stands for."""
    return [f"{SPECS[version]}:MQTT-{rest}" for version, _, rest in (word.partition(":") for word in text.split())]


def broker(name: str, statements: str, says: str, kind: type | tuple[type, ...], act: Act) -> None:
    """Register a fault that acts on what the broker sends of ``kind``."""

    class BrokerFault(MqttFault):
        def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
            return act(packet, conn) if isinstance(packet, kind) else None

    fault(name, *ids(statements), says=says)(BrokerFault)


def client(name: str, statements: str, says: str, kind: type | tuple[type, ...], act: Act) -> None:
    """Register a fault that acts on what the broker gets of ``kind``."""

    class ClientFault(MqttFault):
        def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
            return act(packet, conn) if isinstance(packet, kind) else None

    fault(name, *ids(statements), says=says)(ClientFault)


def tolerant(name: str, statements: str, says: str, which: Callable[[int, Malformed], bool]) -> None:
    """Register a fault that overlooks a malformed packet where ``which(first octet, error)`` holds."""

    class Tolerant(MqttFault):
        def malformed_from_client(self, error: Malformed, rest: bytes, conn: MqttConn) -> bytes:
            return after_first(rest) if rest and which(rest[0], error) else rest

    fault(name, *ids(statements), says=says)(Tolerant)


def defects(*rows: tuple[str, str]) -> None:
    """Register the embedded broker's defects, each with the statements that it breaks."""
    from mqproof.harness.reference.mqtt.defects import DEFECTS

    for name, statements in rows:
        register_defect(name, *ids(statements), says=DEFECTS[name], protocol="mqtt")


def drop(packet: Any, conn: MqttConn) -> MqttResult:
    """Let a packet disappear."""
    return []


def after_first(octets: bytes) -> bytes:
    """Return what follows the first packet, nothing where its length cannot be read."""
    try:
        length = read_varint(octets, 1, len(octets))
    except Malformed:
        return b""
    return b"" if length is None else octets[length[1] + length[0] :]


def count(conn: MqttConn, what: str = "count") -> int:
    """Return how often this was called for the connection, from 1 on."""
    conn.memory[what] = conn.memory.get(what, 0) + 1
    return int(conn.memory[what])


def answer(conn: MqttConn, packet: Any) -> MqttResult:
    """Answer in the broker's place; the broker gets nothing."""
    conn.to_client(packet)
    return []


def with_property(packet: Any, name: str, change: Callable[[Any], Any]) -> Any:
    """Return the packet with a property set to ``change(its value, or None)``."""
    value = change(prop(packet.properties, name))
    return replace(packet, properties=(*without(packet, name).properties, (name, value)))


def without(packet: Any, *names: str) -> Any:
    """Return the packet without these properties."""
    return replace(packet, properties=tuple(pair for pair in packet.properties if pair[0] not in names))


def is_qos(packet: Any, *levels: int) -> bool:
    """Whether this is a PUBLISH at one of these levels."""
    return isinstance(packet, Publish) and packet.qos in levels
