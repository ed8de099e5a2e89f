"""What the judging broker does to a client, so that statements about resending, limits and lies have their occasion."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from mqproof.dissectors.amqp.codec import Method
from mqproof.dissectors.mqtt.codec import Connack, Connect, Puback, Pubcomp, Pubrec
from mqproof.harness.clienttest.conversation import GONE, Listening, Side

Meddler = Callable[[dict[str, Any], Listening, Side, Any], Any]


@dataclass(frozen=True, slots=True)
class Situation:
    """One way to treat a client. ``limits``: the broker's settings. ``meddle`` gets what spans connections first."""

    name: str
    says: str
    limits: dict[str, Any] = field(default_factory=dict)
    meddle: Meddler | None = None


def _cut(memory: dict[str, Any], passage: Listening, side: Side, item: Any) -> Any:
    """Reset the connection instead of the first PUBACK, the first PUBREC and the first PUBCOMP."""
    if side == "broker" and isinstance(item, (Puback, Pubrec, Pubcomp)):
        seen = memory.setdefault("cut", set())
        if type(item) not in seen and len(seen) < 3:
            seen.add(type(item))
            passage.link.after(0, passage.link.reset)
            passage.memory["gone"] = True
    return GONE if passage.memory.get("gone") else None


def _forget(memory: dict[str, Any], passage: Listening, side: Side, item: Any) -> Any:
    """As ``_cut``, and afterwards say that there is no session."""
    if side == "broker" and isinstance(item, Connack) and item.session_present:
        return replace(item, session_present=False)
    return _cut(memory, passage, side, item)


def _lie(memory: dict[str, Any], passage: Listening, side: Side, item: Any) -> Any:
    """Say once that there is a session where the client asked for a clean start."""
    if isinstance(item, Connect):
        passage.memory["clean"] = item.clean_start
    if side == "broker" and isinstance(item, Connack) and passage.memory.get("clean") and not memory.get("lied"):
        memory["lied"] = True
        return replace(item, session_present=True)
    return None


def _foreign(memory: dict[str, Any], passage: Listening, side: Side, item: Any) -> Any:
    """Offer a version of AMQP that nobody speaks, once."""
    if side == "broker" and isinstance(item, Method) and item.name == "connection.start" and not memory.get("offered"):
        memory["offered"] = True
        return Method(item.channel, item.name, {**item.arguments, "version_major": 7, "version_minor": 7})
    return None


PLAIN = Situation("plain", "everything goes well")
CUT = Situation("cut", "the first PUBACK, PUBREC and PUBCOMP do not come: the connection is reset", meddle=_cut)
MQTT_5 = (
    PLAIN,
    CUT,
    Situation(
        "small limits", "Receive Maximum 2, Topic Alias Maximum 1, Server Keep Alive 1 s",
        {"receive_maximum": 2, "topic_alias_maximum": 1, "server_keep_alive": 1},
    ),
    Situation(
        "no features", "Maximum QoS 1, Retain not available, no topic aliases, Maximum Packet Size 2048",
        {"maximum_qos": 1, "retain_available": False, "topic_alias_maximum": 0, "maximum_packet_size": 2048},
    ),
    Situation("forgetful", "the connection is reset, and then there is no session", meddle=_forget),
    Situation("liar", "the broker claims a session that the client did not want", meddle=_lie),
)  # fmt: skip
MQTT_3 = (PLAIN, CUT)
AMQP = (
    PLAIN,
    Situation("heartbeat", "the broker asks for heartbeats every second", {"heartbeat": 1}),
    Situation("unknown version", "the broker offers AMQP 7-7", meddle=_foreign),
)
PROTOCOLS: dict[str, tuple[str, tuple[Situation, ...]]] = {
    "mqtt5": ("mqtt-5.0", MQTT_5),
    "mqtt311": ("mqtt-3.1.1", MQTT_3),
    "amqp": ("amqp-0-9-1", AMQP),
}
