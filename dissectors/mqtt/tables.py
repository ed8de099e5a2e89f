"""MQTT 3.1, 3.1.1 and 5.0 as tables: packet types, flags, properties, reason codes.

Section numbers are those of MQTT 5.0 unless another version is named. Everything that reads or writes MQTT takes ids,
names and flags from here.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Version(IntEnum):
    """The protocol level of CONNECT (section 3.1.2.2)."""

    V3_1 = 3
    V3_1_1 = 4
    V5_0 = 5

    @property
    def spec(self) -> str:
        """The name of the specification in statements and reports."""
        return {Version.V3_1: "mqtt-3.1", Version.V3_1_1: "mqtt-3.1.1", Version.V5_0: "mqtt-5.0"}[self]


PROTOCOL_NAMES: Final = {Version.V3_1: "MQIsdp", Version.V3_1_1: "MQTT", Version.V5_0: "MQTT"}


class PacketType(IntEnum):
    """Section 2.1.2."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    PUBREC = 5
    PUBREL = 6
    PUBCOMP = 7
    SUBSCRIBE = 8
    SUBACK = 9
    UNSUBSCRIBE = 10
    UNSUBACK = 11
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14
    AUTH = 15


# The reserved fixed-header flags (section 2.1.3); PUBLISH uses its flags.
FLAGS: Final[dict[PacketType, int]] = {
    kind: 2 if kind in (PacketType.PUBREL, PacketType.SUBSCRIBE, PacketType.UNSUBSCRIBE) else 0
    for kind in PacketType
    if kind is not PacketType.PUBLISH
}

MAX_VARINT: Final = 268_435_455  # section 1.5.5
MAX_STRING: Final = 65_535  # section 1.5.4


@dataclass(frozen=True, slots=True)
class PropertySpec:
    """One property (section 2.2.2.2): where it may stand, and the values that are legal for it.

    ``packets``: names of packet types, and ``WILL`` for the will properties. ``repeatable``: only User Property
    everywhere, and Subscription Identifier in a PUBLISH.
    """

    id: int
    name: str
    type: str  # "byte", "two", "four", "varint", "string", "binary", "pair"
    packets: frozenset[str]
    repeatable: bool = False
    lowest: int = 0
    highest: int | None = None


def _property(
    number: int,
    name: str,
    kind: str,
    packets: str,
    *,
    repeatable: bool = False,
    lowest: int = 0,
    highest: int | None = None,
) -> PropertySpec:
    return PropertySpec(number, name, kind, frozenset(packets.split()), repeatable, lowest, highest)


_ACKS: Final = "PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH"

_PROPERTIES: Final = (
    _property(0x01, "payload_format_indicator", "byte", "PUBLISH WILL", highest=1),
    _property(0x02, "message_expiry_interval", "four", "PUBLISH WILL"),
    _property(0x03, "content_type", "string", "PUBLISH WILL"),
    _property(0x08, "response_topic", "string", "PUBLISH WILL"),
    _property(0x09, "correlation_data", "binary", "PUBLISH WILL"),
    _property(0x0B, "subscription_identifier", "varint", "PUBLISH SUBSCRIBE", lowest=1),
    _property(0x11, "session_expiry_interval", "four", "CONNECT CONNACK DISCONNECT"),
    _property(0x12, "assigned_client_identifier", "string", "CONNACK"),
    _property(0x13, "server_keep_alive", "two", "CONNACK"),
    _property(0x15, "authentication_method", "string", "CONNECT CONNACK AUTH"),
    _property(0x16, "authentication_data", "binary", "CONNECT CONNACK AUTH"),
    _property(0x17, "request_problem_information", "byte", "CONNECT", highest=1),
    _property(0x18, "will_delay_interval", "four", "WILL"),
    _property(0x19, "request_response_information", "byte", "CONNECT", highest=1),
    _property(0x1A, "response_information", "string", "CONNACK"),
    _property(0x1C, "server_reference", "string", "CONNACK DISCONNECT"),
    _property(0x1F, "reason_string", "string", f"CONNACK {_ACKS}"),
    _property(0x21, "receive_maximum", "two", "CONNECT CONNACK", lowest=1),
    _property(0x22, "topic_alias_maximum", "two", "CONNECT CONNACK"),
    _property(0x23, "topic_alias", "two", "PUBLISH", lowest=1),
    _property(0x24, "maximum_qos", "byte", "CONNACK", highest=1),
    _property(0x25, "retain_available", "byte", "CONNACK", highest=1),
    _property(
        0x26, "user_property", "pair", f"CONNECT CONNACK PUBLISH WILL SUBSCRIBE UNSUBSCRIBE {_ACKS}", repeatable=True
    ),
    _property(0x27, "maximum_packet_size", "four", "CONNECT CONNACK", lowest=1),
    _property(0x28, "wildcard_subscription_available", "byte", "CONNACK", highest=1),
    _property(0x29, "subscription_identifier_available", "byte", "CONNACK", highest=1),
    _property(0x2A, "shared_subscription_available", "byte", "CONNACK", highest=1),
)

PROPERTIES: Final = {spec.name: spec for spec in _PROPERTIES}
PROPERTIES_BY_ID: Final = {spec.id: spec for spec in _PROPERTIES}


class ReasonCode(IntEnum):
    """Section 2.4. Names that share a value (0x00) are told apart by their packet."""

    SUCCESS = 0x00
    GRANTED_QOS_1 = 0x01
    GRANTED_QOS_2 = 0x02
    DISCONNECT_WITH_WILL_MESSAGE = 0x04
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    CONTINUE_AUTHENTICATION = 0x18
    RE_AUTHENTICATE = 0x19
    UNSPECIFIED_ERROR = 0x80
    MALFORMED_PACKET = 0x81
    PROTOCOL_ERROR = 0x82
    IMPLEMENTATION_SPECIFIC_ERROR = 0x83
    UNSUPPORTED_PROTOCOL_VERSION = 0x84
    CLIENT_IDENTIFIER_NOT_VALID = 0x85
    BAD_USER_NAME_OR_PASSWORD = 0x86
    NOT_AUTHORIZED = 0x87
    SERVER_UNAVAILABLE = 0x88
    SERVER_BUSY = 0x89
    BANNED = 0x8A
    SERVER_SHUTTING_DOWN = 0x8B
    BAD_AUTHENTICATION_METHOD = 0x8C
    KEEP_ALIVE_TIMEOUT = 0x8D
    SESSION_TAKEN_OVER = 0x8E
    TOPIC_FILTER_INVALID = 0x8F
    TOPIC_NAME_INVALID = 0x90
    PACKET_IDENTIFIER_IN_USE = 0x91
    PACKET_IDENTIFIER_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM_EXCEEDED = 0x93
    TOPIC_ALIAS_INVALID = 0x94
    PACKET_TOO_LARGE = 0x95
    MESSAGE_RATE_TOO_HIGH = 0x96
    QUOTA_EXCEEDED = 0x97
    ADMINISTRATIVE_ACTION = 0x98
    PAYLOAD_FORMAT_INVALID = 0x99
    RETAIN_NOT_SUPPORTED = 0x9A
    QOS_NOT_SUPPORTED = 0x9B
    USE_ANOTHER_SERVER = 0x9C
    SERVER_MOVED = 0x9D
    SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E
    CONNECTION_RATE_EXCEEDED = 0x9F
    MAXIMUM_CONNECT_TIME = 0xA0
    SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED = 0xA1
    WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2


def _codes(text: str) -> frozenset[int]:
    return frozenset(int(code, 16) for code in text.split())


# The reason codes that each packet may carry (tables in sections 3.2.2.2, 3.4.2.1, ... 3.15.2.1).
REASON_CODES: Final = {
    PacketType.CONNACK: _codes("00 80 81 82 83 84 85 86 87 88 89 8A 8C 90 95 97 99 9A 9B 9C 9D 9F"),
    PacketType.PUBACK: _codes("00 10 80 83 87 90 91 97 99"),
    PacketType.PUBREC: _codes("00 10 80 83 87 90 91 97 99"),
    PacketType.PUBREL: _codes("00 92"),
    PacketType.PUBCOMP: _codes("00 92"),
    PacketType.SUBACK: _codes("00 01 02 80 83 87 8F 91 97 9E A1 A2"),
    PacketType.UNSUBACK: _codes("00 11 80 83 87 8F 91"),
    PacketType.DISCONNECT: _codes(
        "00 04 80 81 82 83 87 89 8B 8D 8E 8F 90 93 94 95 96 97 98 99 9A 9B 9C 9D 9E 9F A0 A1 A2"
    ),
    PacketType.AUTH: _codes("00 18 19"),
}

# MQTT 3.1.1 section 3.2.2.3 and 3.9.3.
CONNECT_RETURN_CODES: Final = {
    0: "accepted",
    1: "unacceptable protocol version",
    2: "identifier rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}
SUBACK_RETURN_CODES: Final = frozenset({0x00, 0x01, 0x02, 0x80})
