"""Disturbs MQTT messages: one stage before the broker that speaks each QoS's handshake for what it adds or hides."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mqproof.dissectors.mqtt.codec import (
    Connect,
    Packet,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    prop,
)
from mqproof.dissectors.mqtt.tables import ReasonCode, Version
from mqproof.harness.chaos.decisions import Decisions
from mqproof.harness.chaos.faults import DELIVERING, PUBLISHING
from mqproof.harness.chaos.scenario import Plan
from mqproof.harness.saboteur.core import MqttConn, MqttFault, MqttResult

HOLD = 0.5  # seconds that a delivery is held back unless the plan says otherwise
HIGHEST_ID = 65535  # ids of messages that the saboteur adds are taken from the top


@dataclass(slots=True)
class Way:
    """One direction of messages. Packet ids are those of the messages' sender."""

    ours: set[int] = field(default_factory=set)  # messages that the saboteur added: it speaks their handshake
    hidden: set[int] = field(default_factory=set)  # messages that it swallowed: it answers their PUBREL
    mute: set[int] = field(default_factory=set)  # messages whose last acknowledgement is lost
    cut: set[int] = field(default_factory=set)  # messages at whose acknowledgement the connection is cut
    aliases: dict[int, str] = field(default_factory=dict)  # topic alias -> topic, MQTT 5.0 section 3.3.2.3.4
    unlearned: set[int] = field(default_factory=set)  # aliases that the receiver was not told
    next_id: int = HIGHEST_ID

    def fresh_id(self) -> int:
        """Return a packet id for a message of ours."""
        self.next_id = self.next_id - 1 if self.next_id > HIGHEST_ID - 4096 else HIGHEST_ID
        self.ours.add(self.next_id)
        return self.next_id


class MqttMessages(MqttFault):
    """One connection's stage. ``number``: the connection's."""

    def __init__(self, decisions: Decisions, number: int) -> None:
        super().__init__()
        self._decisions = decisions
        self._number = number
        self._client_id = ""
        self._out, self._in = Way(), Way()  # published by the client, delivered to it
        self._held: list[Callable[[], None]] = []

    def from_client(self, packet: Packet, conn: MqttConn) -> MqttResult:
        """Decide on a publish; keep what acknowledges a delivery of ours from the broker."""
        if isinstance(packet, Connect):
            self._client_id = packet.client_id
        if isinstance(packet, Publish):
            return self._publish(packet, conn)
        if isinstance(packet, Pubrel) and packet.packet_id in self._out.hidden:
            self._out.hidden.discard(packet.packet_id)
            conn.to_client(Pubcomp(packet.packet_id))
            return []
        return self._acknowledged(packet, self._in, conn, conn.to_client)

    def from_broker(self, packet: Packet, conn: MqttConn) -> MqttResult:
        """Decide on a delivery; keep what acknowledges a publish of ours from the client."""
        if isinstance(packet, Publish):
            result = self._delivery(packet, conn)
            if self._held and result != []:
                conn.to_client(*([conn.raw] if result is None else result))
                self._release()
                return []
            return result
        if isinstance(packet, Pubrel) and packet.packet_id in self._in.hidden:
            self._in.hidden.discard(packet.packet_id)
            conn.to_broker(Pubcomp(packet.packet_id))
            return []
        return self._acknowledged(packet, self._out, conn, conn.to_broker)

    def _acknowledged(self, packet: Packet, way: Way, conn: MqttConn, answer: Callable[..., None]) -> MqttResult:
        """Handle a receiver's acknowledgement: of a message of ours, of one that stays unconfirmed, or of another."""
        if not isinstance(packet, (Puback, Pubrec, Pubcomp)):
            return None
        if packet.packet_id in way.ours:
            if isinstance(packet, Pubrec) and packet.reason_code < 0x80:
                answer(Pubrel(packet.packet_id))
            else:
                way.ours.discard(packet.packet_id)
            return []
        if packet.packet_id in way.cut:
            conn.reset()
            return []
        if packet.packet_id in way.mute and not isinstance(packet, Pubrec):
            way.mute.discard(packet.packet_id)
            return []
        return None

    # -- publishes

    def _publish(self, packet: Publish, conn: MqttConn) -> MqttResult:
        plain, passed = self._resolved(packet, self._out)
        plan = None if packet.dup else self._decide("publish", plain, PUBLISHING)
        if plan is None:
            return passed
        if plan.fault == "duplicate-publish":
            return [packet, self._copy(plain, self._out)]
        if plan.fault == "lost-publish":
            self._not_sent(packet, self._out)
            self._pretend(packet, self._out, conn.to_client)
            return []
        if plan.fault == "refused-publish":
            return self._refused(packet, conn) or passed
        if packet.packet_id is None:
            if plan.fault == "cut-on-publish":
                conn.to_broker(*([conn.raw] if passed is None else passed))
                conn.reset()
                return []
            return passed  # nothing confirms QoS 0
        (self._out.mute if plan.fault == "lost-confirm" else self._out.cut).add(packet.packet_id)
        return passed

    def _refused(self, packet: Publish, conn: MqttConn) -> MqttResult:
        if packet.packet_id is None or conn.version is not Version.V5_0:
            return None
        self._not_sent(packet, self._out)
        kind = Puback if packet.qos == 1 else Pubrec
        conn.to_client(kind(packet.packet_id, ReasonCode.QUOTA_EXCEEDED))
        return []

    # -- deliveries

    def _delivery(self, packet: Publish, conn: MqttConn) -> MqttResult:
        plain, passed = self._resolved(packet, self._in)
        plan = self._decide("deliver", plain, DELIVERING)
        if plan is None:
            return passed
        if plan.fault == "duplicate-delivery":
            return [packet if passed is None else plain, self._copy(plain, self._in)]
        if plan.fault == "lost-delivery":
            self._not_sent(packet, self._in)
            self._pretend(packet, self._in, conn.to_broker)
            return []
        if plan.fault in ("delayed-delivery", "reordered-delivery"):
            self._not_sent(packet, self._in)
            self._hold(plan, plain, conn)
            return []
        if plan.fault == "changed-body" and plain.payload:
            return [replace(plain, payload=plain.payload[:-1] + bytes([plain.payload[-1] ^ 1]))]
        if plan.fault == "cut-on-delivery":
            conn.reset()
            return []
        if plan.fault == "lost-ack" and packet.packet_id is not None:
            self._in.mute.add(packet.packet_id)
        return passed

    def _hold(self, plan: Plan, packet: Publish, conn: MqttConn) -> None:
        done: list[bool] = []

        def release() -> None:
            if not done:
                done.append(True)
                conn.to_client(packet)

        if plan.fault == "reordered-delivery":
            self._held.append(release)
        conn.after(plan.options.get("delay", HOLD), release)

    def _release(self) -> None:
        held, self._held = self._held, []
        for release in held:
            release()

    # -- both

    def _decide(self, what: str, packet: Publish, names: frozenset[str]) -> Plan | None:
        route = f"{what} topic={packet.topic}"
        number = self._decisions.count(route)
        facts = {"topic": packet.topic, "direction": what, "client": self._client_id}
        plan = self._decisions.choose(self._decisions.active(names), route, number, facts)
        self._decisions.note(self._number, route, number, plan.fault if plan else "", len(packet.payload))
        return plan

    @staticmethod
    def _copy(packet: Publish, way: Way) -> Publish:
        return replace(packet, packet_id=way.fresh_id()) if packet.qos else packet

    @staticmethod
    def _pretend(packet: Publish, way: Way, answer: Callable[..., None]) -> None:
        """Acknowledge a message that its receiver never sees."""
        if packet.packet_id is None:
            return
        if packet.qos == 2:
            way.hidden.add(packet.packet_id)
        answer(Puback(packet.packet_id) if packet.qos == 1 else Pubrec(packet.packet_id))

    @staticmethod
    def _not_sent(packet: Publish, way: Way) -> None:
        alias = prop(packet.properties, "topic_alias")
        if alias is not None and packet.topic:
            way.unlearned.add(alias)

    @staticmethod
    def _resolved(packet: Publish, way: Way) -> tuple[Publish, MqttResult]:
        """Return the message with its topic and no alias, and what passes on if nothing is done to it."""
        alias = prop(packet.properties, "topic_alias")
        if alias is None:
            return packet, None
        if packet.topic:
            way.aliases[alias] = packet.topic
        topic = way.aliases.get(alias, packet.topic)
        others = tuple(pair for pair in packet.properties if pair[0] != "topic_alias")
        plain = replace(packet, topic=topic, properties=others)
        if not packet.topic and alias in way.unlearned:
            way.unlearned.discard(alias)
            return plain, [replace(packet, topic=topic)]
        if packet.topic:
            way.unlearned.discard(alias)
        return plain, None
