"""Preflight: is the target there, does it speak the protocol, does it let us in, and what does it say of itself.

**AMQP capabilities** are what the server's properties announce as true (``publisher_confirms``, ``basic.nack``, …).
**MQTT capabilities** are the specifications that it speaks (``mqtt-3.1.1``, ``mqtt-5.0``) and, by the names of
CONNACK's properties, what a server may lack: ``qos-1``, ``qos-2``, ``retain``, ``wildcard_subscription``,
``subscription_identifier``, ``shared_subscription``, ``topic_alias``. MQTT 3.1.1 leaves only the granted QoS to the
server (section 3.9.3), so that ``qos-2`` is what a subscription of ours was granted, whatever CONNACK says.
A profile of the product adds what its documentation says and no protocol tells.
"""

from collections.abc import Mapping
from typing import Any

from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.printable import printable
from mqproof.harness.targets.deadline import Deadline
from mqproof.harness.targets.diagnose import explain
from mqproof.harness.targets.errors import TargetError, WrongProtocol
from mqproof.harness.targets.greetings import MqttGreeting, NoGreeting, VersionRefused, greet_amqp, greet_mqtt
from mqproof.harness.targets.profile import declared_capabilities
from mqproof.harness.targets.target import Target

GREETING_SECONDS = 5.0
WHOLE_SECONDS = 12.0
LONGEST_NAME = 100  # characters of a product or version
MQTT_FEATURES = {  # capability -> CONNACK's property that says 0 where it is lacking (MQTT 5.0 section 3.2.2.3)
    "retain": "retain_available",
    "wildcard_subscription": "wildcard_subscription_available",
    "subscription_identifier": "subscription_identifier_available",
    "shared_subscription": "shared_subscription_available",
}


def identify(target: Target, seconds: float = WHOLE_SECONDS) -> Target:
    """Return the target with product, version, capabilities and properties filled in.

    ``seconds`` bounds everything, before patience. Raises the errors of :mod:`mqproof.harness.targets.errors`.
    """
    deadline = Deadline.within(seconds)
    try:
        identified = _amqp(target, deadline) if target.protocol == "amqp" else _mqtt(target, deadline)
    except NoGreeting as said:
        raise explain(target, said, deadline) from None
    return identified.with_(capabilities=identified.capabilities | declared_capabilities(identified))


def is_ready(target: Target, seconds: float) -> bool:
    """Return whether a server that is starting lets us in by now; ``seconds`` bounds one try."""
    deadline = Deadline.within(seconds)
    try:
        if target.protocol == "amqp":
            greet_amqp(target, deadline)
        else:
            greet_mqtt(target, deadline, Version.V3_1_1)
    except (TargetError, NoGreeting):
        return False
    return True


def _amqp(target: Target, deadline: Deadline) -> Target:
    properties = greet_amqp(target, deadline.sooner(GREETING_SECONDS))
    offered = properties.get("capabilities")
    offered = offered if isinstance(offered, Mapping) else {}
    return target.with_(
        product=_name(properties.get("product")) or target.product,
        version=_name(properties.get("version")) or target.version,
        capabilities=frozenset(name for name, value in offered.items() if value is True),
        properties={key: value for key, value in properties.items() if key != "capabilities"},
    )


def _mqtt(target: Target, deadline: Deadline) -> Target:
    newer = _try(target, Version.V5_0, deadline)
    older = _try(target, Version.V3_1_1, deadline, look=not isinstance(newer, MqttGreeting))
    seen = [said for said in (newer, older) if isinstance(said, MqttGreeting)]
    if not seen:
        silent_or_closed = next((said for said in (older, newer) if isinstance(said, NoGreeting)), None)
        if silent_or_closed:
            raise silent_or_closed
        raise WrongProtocol(f"{target.redacted_url}: the server speaks neither MQTT 3.1.1 nor 5.0: nothing to judge")
    best = seen[0]
    product, version = _split(next((said.sys_version for said in seen if said.sys_version), ""))
    return target.with_(
        product=_name(product) or target.product,
        version=_name(version) or target.version,
        capabilities=frozenset({said.version.spec for said in seen} | _features(best)),
        properties={name: value for name, value in best.properties.items() if isinstance(value, int | str)},
    )


def _try(
    target: Target, version: Version, deadline: Deadline, *, look: bool = True
) -> MqttGreeting | NoGreeting | None:
    """Return the greeting, why there was none, or None when the server refuses this version."""
    try:
        return greet_mqtt(target, deadline.sooner(GREETING_SECONDS), version, look=look)
    except VersionRefused:
        return None
    except NoGreeting as said:
        if said.octets:
            raise
        return said  # MQTT 3.1.1 section 3.1.2.2 lets a server close on a version that it does not know; some fall mute


def _features(said: MqttGreeting) -> set[str]:
    maximum_qos = int(said.properties.get("maximum_qos", 2))
    if said.granted is not None and said.granted <= 2:
        maximum_qos = min(maximum_qos, said.granted)
    features = {f"qos-{qos}" for qos in range(1, maximum_qos + 1)}
    if said.version is Version.V5_0:
        features |= {name for name, key in MQTT_FEATURES.items() if said.properties.get(key, 1)}
        if said.properties.get("topic_alias_maximum", 0):
            features.add("topic_alias")
    else:
        features |= {"retain", "wildcard_subscription"}  # MQTT 3.1.1 lets no server lack them
    return features


def _split(text: str) -> tuple[str, str]:
    """Return product and version out of ``mosquitto version 2.0.11`` and the like."""
    product, separator, version = text.rpartition(" version ")
    if separator:
        return product, version.split()[0] if version else ""
    words = text.split()
    return (words[0], words[-1]) if len(words) > 1 else ("", text)


def _name(value: Any) -> str:
    """Return what a broker calls itself or its version as it may be shown: one line, not too long."""
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
    return printable(text[:LONGEST_NAME])
