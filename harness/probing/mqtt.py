"""Probing an MQTT broker: what its CONNACK announces, and what it takes when it is tried."""

from collections.abc import Callable

from mqproof.dissectors.mqtt.codec import Connack, prop
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.probing.limits import MESSAGE_SIZES, Limit, ProbeNames, megabytes
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Unsupported
from mqproof.harness.wires.mqtt import MqttWire
from mqproof.harness.wires.mqtt_link import Belongings

VERSIONS = {Version.V3_1: "3.1", Version.V3_1_1: "3.1.1", Version.V5_0: "5.0"}
ANNOUNCED = {  # CONNACK's properties (MQTT 5.0 section 3.2.2.3) and what their absence means
    "receive_maximum": "65535",
    "maximum_packet_size": "no limit",
    "topic_alias_maximum": "0",
    "server_keep_alive": "the client's",
    "session_expiry_interval": "the client's",
}
CLIENT_ID_LENGTHS = (23, 128, 1024, 65535)
TOPIC_LENGTHS = (1024, 4096, 65535)


def probe(target: Target, names: ProbeNames) -> list[Limit]:
    """Return the limits of an MQTT broker. Raises Blocked when it lets us in with no version."""
    offered = [version for version in VERSIONS if _tries(target, names, version, lambda wire: None)]
    if not offered:
        raise Blocked("the broker accepts no version of MQTT")
    version = offered[-1]
    connack = _connack(target, names, version)

    def tried(attempt: Callable[[MqttWire], object]) -> str:
        return "yes" if _tries(target, names, version, attempt) else "no"

    return [
        Limit("versions", "", ", ".join(VERSIONS[each] for each in offered)),
        *(_announced(connack, name, version) for name in ANNOUNCED if version is Version.V5_0),
        Limit("QoS granted", _property(connack, "maximum_qos", "2", version), _granted(target, names, version)),
        Limit("retained messages", _is_announced(connack, "retain_available", version), tried(_retains)),
        Limit(
            "wildcard subscriptions",
            _is_announced(connack, "wildcard_subscription_available", version),
            tried(lambda wire: wire.subscribe(f"{names('topic')}/+/#")),
        ),
        Limit(
            "shared subscriptions",
            _is_announced(connack, "shared_subscription_available", version),
            tried(lambda wire: wire.subscribe(f"$share/{names('group')}/{names('topic')}"))
            if version is Version.V5_0
            else "5.0 only",
        ),
        Limit("longest client id", "", _longest(target, names, version, CLIENT_ID_LENGTHS, _as_client)),
        Limit("longest topic", "", _longest(target, names, version, TOPIC_LENGTHS, _as_topic)),
        Limit("largest message", "", _largest_message(target, names, version)),
    ]


def _wire(target: Target, names: ProbeNames, version: Version) -> MqttWire:
    return MqttWire(target, version, Belongings(names), title="MQTT probe")


def _connack(target: Target, names: ProbeNames, version: Version) -> Connack:
    wire = _wire(target, names, version)
    try:
        return wire.connect().connack
    finally:
        wire.leave()


def _tries(
    target: Target, names: ProbeNames, version: Version, attempt: Callable[[MqttWire], object], client_id: str = ""
) -> bool:
    """Return whether an attempt succeeds on a connection of its own, with a session that ends with it."""
    wire = _wire(target, names, version)
    try:
        wire.connect(client_id or None)
        attempt(wire)
        wire.ping()
    except (Blocked, Unsupported):
        return False
    else:
        return True
    finally:
        wire.leave()


def _announced(connack: Connack, name: str, version: Version) -> Limit:
    return Limit(name.replace("_", " "), _property(connack, name, ANNOUNCED[name], version), "")


def _property(connack: Connack, name: str, absent: str, version: Version) -> str:
    if version is not Version.V5_0:
        return ""
    value = prop(connack.properties, name)
    return absent if value is None else str(value)


def _is_announced(connack: Connack, name: str, version: Version) -> str:
    return {"1": "yes", "0": "no"}.get(said := _property(connack, name, "1", version), said)


def _granted(target: Target, names: ProbeNames, version: Version) -> str:
    for qos in (2, 1, 0):
        if _tries(target, names, version, lambda wire, qos=qos: wire.subscribe(names(), qos=qos)):  # type: ignore[misc]
            return str(qos)
    return "none"


def _retains(wire: MqttWire) -> None:
    topic = wire.belongings.names("topic")
    wire.deliver(topic, b"kept", qos=1, retain=True)
    wire.subscribe(topic, qos=1)
    try:
        if not wire.until(b"kept")[-1].retain:
            raise Blocked("the message did not come as a retained one")
    finally:
        wire.deliver(topic, b"", qos=1, retain=True)


def _as_client(target: Target, names: ProbeNames, version: Version, length: int) -> bool:
    client_id = (names.client_id() + "x" * length)[:length]
    return _tries(target, names, version, lambda wire: None, client_id)


def _as_topic(target: Target, names: ProbeNames, version: Version, length: int) -> bool:
    topic = (names("topic") + "x" * length)[:length]
    return _tries(target, names, version, lambda wire: wire.deliver(topic, qos=1))


def _longest(
    target: Target,
    names: ProbeNames,
    version: Version,
    lengths: tuple[int, ...],
    taken: Callable[[Target, ProbeNames, Version, int], bool],
) -> str:
    longest = 0
    for length in lengths:
        if not taken(target, names, version, length):
            return f"{longest} octets, {length} are refused"
        longest = length
    return f"{longest} octets"


def _largest_message(target: Target, names: ProbeNames, version: Version) -> str:
    largest = 0
    for size in MESSAGE_SIZES:
        payload = bytes(size)
        if not _tries(target, names, version, lambda wire, payload=payload: wire.deliver(names(), payload, qos=1)):  # type: ignore[misc]
            return f"{megabytes(largest)}, {megabytes(size)} is refused"
        largest = size
    return f"{megabytes(largest)} and perhaps more"
