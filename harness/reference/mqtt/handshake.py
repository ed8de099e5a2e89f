"""CONNECT and CONNACK: MQTT 3.1.1 and 5.0 sections 3.1 and 3.2.

Choices the text leaves open: an unsupported protocol level is answered in the format of 3.1.1 (CONNACK 0x01), which
3.1.1 demands and 5.0 allows; a protocol name that is not MQTT's gets no answer; empty client identifiers are allowed
with Clean Start 0 in 5.0; wrong passwords are 0x04 and missing ones 0x05 in 3.1.1, 0x86 and 0x87 in 5.0; Response
Information is sent to whoever asks for it.
"""

from dataclasses import dataclass
from typing import Any

from mqproof.dissectors.mqtt.codec import Connect, Properties, Will, prop
from mqproof.dissectors.mqtt.tables import ReasonCode, Version
from mqproof.harness.reference.mqtt.broker import Broker
from mqproof.harness.reference.mqtt.delivery import LAST_ID, Message
from mqproof.harness.reference.mqtt.refusal import Refusal
from mqproof.harness.reference.mqtt.session import FOREVER, StoredWill
from mqproof.harness.reference.mqtt.topics import valid_topic

NOT_PASSED_ON = {"topic_alias", "message_expiry_interval", "will_delay_interval", "subscription_identifier"}


@dataclass(frozen=True, slots=True)
class Peer:
    """What a client asked for in CONNECT, as far as the connection goes by it."""

    version: Version
    client_id: str
    assigned: bool
    keep_alive: int  # seconds, 0 for none
    expiry: int  # seconds
    receive_maximum: int = LAST_ID
    maximum_packet_size: int | None = None  # octets
    topic_alias_maximum: int = 0
    problem_information: bool = True  # absent means 1, 3.1.2.11.7
    response_information: bool = False


def check_version(connect: Connect) -> None:
    """MQTT-3.1.2-2. Raises Refusal for MQTT 3.1."""
    if connect.version not in (Version.V3_1_1, Version.V5_0):
        raise Refusal(ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, "unsupported protocol version", 1)


def check_connect(broker: Broker, connect: Connect) -> None:
    """The checks of section 3.1.4 after the format was found right. Raises Refusal."""
    if elsewhere := broker.limits.server_reference:
        raise Refusal(ReasonCode.USE_ANOTHER_SERVER, "another server is in charge", 3, elsewhere)
    if connect.version is Version.V3_1_1 and not connect.client_id and not connect.clean_start:
        raise Refusal(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "empty client identifier", 2)  # MQTT-3.1.3-8
    if connect.will:
        _check_will(broker, connect.will)
    known = connect.client_id in broker.sessions
    if not known and len(broker.sessions) >= broker.limits.sessions:
        raise Refusal(ReasonCode.QUOTA_EXCEEDED, "too many sessions", 3)


def _check_will(broker: Broker, will: Will) -> None:
    if not valid_topic(will.topic):
        raise Refusal(ReasonCode.PROTOCOL_ERROR, "the will topic is not a topic name")
    if will.qos > broker.limits.maximum_qos:
        raise Refusal(ReasonCode.QOS_NOT_SUPPORTED, "will QoS above Maximum QoS")  # MQTT-3.2.2-12
    if will.retain and not broker.limits.retain_available:
        raise Refusal(ReasonCode.RETAIN_NOT_SUPPORTED, "will retain without Retain Available")  # MQTT-3.2.2-13
    check_response_topic(will.properties)


def check_response_topic(properties: Properties) -> None:
    """MQTT-3.3.2-14. Raises Refusal."""
    response_topic = prop(properties, "response_topic")
    if response_topic is not None and not valid_topic(response_topic):
        raise Refusal(ReasonCode.PROTOCOL_ERROR, "the response topic is not a topic name")


def check_login(broker: Broker, connect: Connect) -> None:
    """MQTT-3.1.4-2. Raises Refusal unless user name and password are known, or none are asked for."""
    if broker.users is None or broker.defective("login-ignored"):
        return
    if connect.user_name is None:
        raise Refusal(ReasonCode.NOT_AUTHORIZED, "a user name and password are needed", 5)
    if broker.users.get(connect.user_name) != connect.password:
        raise Refusal(ReasonCode.BAD_USER_NAME_OR_PASSWORD, "bad user name or password", 4)


def peer_of(broker: Broker, connect: Connect) -> Peer:
    """Return what the connection goes by: the client's wishes within the server's limits."""
    client_id = connect.client_id or broker.assign_client_id()
    assigned = not connect.client_id
    server = broker.limits.server_keep_alive
    if connect.version is not Version.V5_0:
        expiry = 0 if connect.clean_start else FOREVER  # MQTT-3.1.2-4, -6
        return Peer(connect.version, client_id, assigned, connect.keep_alive, expiry)
    given: dict[str, Any] = dict(connect.properties)
    expiry = granted_expiry(broker, given.get("session_expiry_interval", 0))
    return Peer(
        connect.version,
        client_id,
        assigned,
        connect.keep_alive if server is None else server,  # MQTT-3.2.2-21, -22
        expiry,
        given.get("receive_maximum", LAST_ID),
        given.get("maximum_packet_size"),
        given.get("topic_alias_maximum", 0),
        bool(given.get("request_problem_information", 1)),
        bool(given.get("request_response_information", 0)),
    )


def granted_expiry(broker: Broker, asked: int) -> int:
    """Return the Session Expiry Interval in force (3.2.2.3.2)."""
    maximum = broker.limits.session_expiry_maximum
    return asked if maximum is None else min(asked, maximum)


def stored_will(broker: Broker, connect: Connect, client_id: str) -> StoredWill | None:
    """Return the will as it is kept with the session (MQTT-3.1.2-7)."""
    will = connect.will
    if will is None:
        return None
    message = message_of(will.topic, will.payload, will.qos, will.retain, will.properties, client_id, broker.now)
    return StoredWill(message, prop(will.properties, "will_delay_interval") or 0)


def message_of(
    topic: str, payload: bytes, qos: int, retain: bool, properties: Properties, publisher: str, now: float
) -> Message:
    """Return what is passed on of a PUBLISH or will: payload format, content type, response topic, … in order."""
    if not properties:
        return Message(topic, payload, qos, retain, (), None, now, publisher)
    passed = tuple(entry for entry in properties if entry[0] not in NOT_PASSED_ON)
    return Message(topic, payload, qos, retain, passed, prop(properties, "message_expiry_interval"), now, publisher)


def connack_properties(broker: Broker, connect: Connect, peer: Peer, method: str | None) -> Properties:
    """Return the properties of a successful 5.0 CONNACK (section 3.2.2.3): limits, and what differs from CONNECT."""
    limits = broker.limits
    asked = prop(connect.properties, "session_expiry_interval") or 0
    entries: list[tuple[str, Any, bool]] = [
        ("session_expiry_interval", peer.expiry, peer.expiry != asked),
        ("receive_maximum", limits.receive_maximum, limits.receive_maximum < LAST_ID),
        ("maximum_qos", limits.maximum_qos, limits.maximum_qos < 2),
        ("retain_available", 0, not limits.retain_available),
        ("maximum_packet_size", limits.maximum_packet_size, True),
        ("assigned_client_identifier", peer.client_id, peer.assigned),
        ("topic_alias_maximum", limits.topic_alias_maximum, limits.topic_alias_maximum > 0),
        ("wildcard_subscription_available", 0, not limits.wildcards_available),
        ("subscription_identifier_available", 0, not limits.identifiers_available),
        ("shared_subscription_available", 0, not limits.shared_available),
        ("server_keep_alive", limits.server_keep_alive, limits.server_keep_alive is not None),
        ("response_information", f"mqproof/response/{peer.client_id}", peer.response_information),
        ("authentication_method", method, method is not None),
    ]
    return tuple((name, value) for name, value, wanted in entries if wanted)
