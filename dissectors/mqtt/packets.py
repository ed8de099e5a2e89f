"""MQTT packets as values. Fields are named as in the specification; ``properties`` keep their order on the wire."""

from dataclasses import dataclass

from mqproof.dissectors.mqtt.fields import Properties
from mqproof.dissectors.mqtt.tables import PacketType, Version


@dataclass(frozen=True, slots=True)
class Will:
    """The will message in a CONNECT (section 3.1.3.2)."""

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Connect:
    """Section 3.1. ``clean_start`` is Clean Session in 3.1.1; ``keep_alive`` in seconds."""

    client_id: str = ""
    clean_start: bool = True
    keep_alive: int = 0
    will: Will | None = None
    user_name: str | None = None
    password: bytes | None = None
    version: Version = Version.V3_1_1
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Connack:
    """Section 3.2. ``reason_code`` is the return code in 3.1.1."""

    session_present: bool = False
    reason_code: int = 0
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Publish:
    """Section 3.3. ``packet_id`` is None at QoS 0."""

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_id: int | None = None
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What PUBACK, PUBREC, PUBREL and PUBCOMP have in common."""

    packet_id: int
    reason_code: int = 0
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Puback(Acknowledgement):
    """Section 3.4."""


@dataclass(frozen=True, slots=True)
class Pubrec(Acknowledgement):
    """Section 3.5."""


@dataclass(frozen=True, slots=True)
class Pubrel(Acknowledgement):
    """Section 3.6."""


@dataclass(frozen=True, slots=True)
class Pubcomp(Acknowledgement):
    """Section 3.7."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic filter with its options (section 3.8.3.1); before 5.0 only ``qos`` exists."""

    filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Section 3.8."""

    packet_id: int
    subscriptions: tuple[Subscription, ...]
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Suback:
    """Section 3.9; one code per filter."""

    packet_id: int
    reason_codes: tuple[int, ...]
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Section 3.10."""

    packet_id: int
    filters: tuple[str, ...]
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Unsuback:
    """Section 3.11; no codes before 5.0."""

    packet_id: int
    reason_codes: tuple[int, ...] = ()
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Pingreq:
    """Section 3.12."""


@dataclass(frozen=True, slots=True)
class Pingresp:
    """Section 3.13."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Section 3.14."""

    reason_code: int = 0
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class Auth:
    """Section 3.15; MQTT 5.0 only."""

    reason_code: int = 0
    properties: Properties = ()


@dataclass(frozen=True, slots=True)
class RawPacket:
    """A packet of any octets, legal or not; ``remaining_length`` replaces the true length's octets when given."""

    first_byte: int
    body: bytes = b""
    remaining_length: bytes | None = None


Packet = (
    Connect
    | Connack
    | Publish
    | Puback
    | Pubrec
    | Pubrel
    | Pubcomp
    | Subscribe
    | Suback
    | Unsubscribe
    | Unsuback
    | Pingreq
    | Pingresp
    | Disconnect
    | Auth
    | RawPacket
)

TYPES: dict[type, PacketType] = {
    Connect: PacketType.CONNECT,
    Connack: PacketType.CONNACK,
    Publish: PacketType.PUBLISH,
    Puback: PacketType.PUBACK,
    Pubrec: PacketType.PUBREC,
    Pubrel: PacketType.PUBREL,
    Pubcomp: PacketType.PUBCOMP,
    Subscribe: PacketType.SUBSCRIBE,
    Suback: PacketType.SUBACK,
    Unsubscribe: PacketType.UNSUBSCRIBE,
    Unsuback: PacketType.UNSUBACK,
    Pingreq: PacketType.PINGREQ,
    Pingresp: PacketType.PINGRESP,
    Disconnect: PacketType.DISCONNECT,
    Auth: PacketType.AUTH,
}


def packet_type(packet: Packet) -> int:
    """Return the packet's type number, for a RawPacket whatever its first octet says."""
    if isinstance(packet, RawPacket):
        return packet.first_byte >> 4
    return TYPES[type(packet)]


def packet_name(packet: Packet) -> str:
    """Return the name as in the specification, such as ``PUBLISH``."""
    number = packet_type(packet)
    return PacketType(number).name if number else "RESERVED"
