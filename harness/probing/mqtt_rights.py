"""Whether we may say and hear anything on an MQTT broker: a server may drop what it does not authorise without a word.

In 3.1.1 it even has to acknowledge such a message (section 3.3.5), so that missing rights look like lost messages: no
suite could tell them apart, and would accuse the broker.
"""

from mqproof.dissectors.mqtt.packets import Puback, Publish
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.probing.limits import ProbeNames
from mqproof.harness.targets.errors import LoginRefused
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked
from mqproof.harness.wires.base import Ended
from mqproof.harness.wires.mqtt import MqttWire
from mqproof.harness.wires.mqtt_link import Belongings, deadline

MESSAGES = 3  # one that comes is enough: whether each has to, is for the suites


def must_carry(target: Target, prefix: str) -> Target:
    """Return the target, if it is not MQTT, ours, or carries a message to ourselves. Raises LoginRefused otherwise."""
    if target.protocol != "mqtt" or target.is_ours:
        return target
    names = ProbeNames(prefix)
    version = Version.V5_0 if Version.V5_0.spec in target.capabilities else Version.V3_1_1
    try:
        wire = MqttWire(target, version, Belongings(names), title="MQTT rights").connect()
    except Blocked:
        return target  # the suites will say so
    try:
        problem = _problem(wire, names("rights"), qos=int("qos-1" in target.capabilities))
    finally:
        wire.leave()
    if problem:
        who = f"user {target.user!r}" if target.user else "anybody"
        raise LoginRefused(
            f"{target.redacted_url}: {problem}: may {who} publish and subscribe to topics that begin so? "
            "The suites need it"
        )
    return target


def _problem(wire: MqttWire, topic: str, qos: int) -> str:
    """Return what stands between us and a message to ourselves, nothing where one comes."""
    try:
        code = wire.ask(topic, qos=qos).reason_codes[0]
    except Blocked as blocked:
        return f"no answer to a subscription to {topic} ({blocked})"
    if code >= 0x80:
        return f"the server refuses a subscription to {topic} (0x{code:02X})"
    for _ in range(MESSAGES):
        wire.publish(topic, qos=qos)
    until = deadline()
    while not isinstance(got := wire.poll(until), Ended):
        if isinstance(got, Publish) and got.topic == topic:
            return ""
        if isinstance(got, Puback) and got.reason_code >= 0x80:
            return f"the server refuses a message to {topic} (0x{got.reason_code:02X})"
    return f"nothing comes of what was published to {topic} ({got})"
