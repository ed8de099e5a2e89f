"""Holds an MQTT client's conversations against the statements that bind clients (3.1.1 and 5.0).

It accuses only for what is on the wire. What needs time to be sure of has a tolerance, which is said where it is used.
"""

from collections.abc import Iterable
from typing import Any

from mqproof.dissectors.errors import Malformed
from mqproof.dissectors.mqtt.codec import (
    Auth,
    Connack,
    Connect,
    Disconnect,
    Puback,
    Pubcomp,
    Publish,
    Pubrec,
    Pubrel,
    Suback,
    Subscribe,
    Unsuback,
    Unsubscribe,
    packet_name,
    prop,
)
from mqproof.dissectors.mqtt.tables import PacketType, ReasonCode, Version
from mqproof.harness.clienttest.conversation import Conversation, Ended, Event
from mqproof.harness.clienttest.mqtt_connect import judge_connect
from mqproof.harness.clienttest.mqtt_state import Kept, State
from mqproof.harness.clienttest.mqtt_statements import IDS, TEXTS
from mqproof.harness.clienttest.opinions import Opinions

TOLERANCE = 1.0  # seconds that a client may be late by, beside a quarter of its keep-alive
GRACE = 3.0  # seconds that a client has to close a connection
SETTLED = 1.0  # seconds after which what has not been answered or repeated will not be

class MqttJudge:
    """Judges conversations one after the other; sessions outlive connections within a situation."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.opinions = Opinions(version.spec)
        self._sessions: dict[tuple[str, str], Kept] = {}
        self._s = State()
        self._aliased = False  # whether the last message to the client had a topic alias

    def hear(self, conversation: Conversation) -> None:
        """Judge one connection."""
        self.opinions.connection += 1
        self.opinions.situation = conversation.situation
        self._s = State(version=self.version)
        for event in conversation.events:
            self._s.begun = self._s.begun or event.time
            if event.side == "client":
                self._from_client(event)
            else:
                self._from_broker(event)
        if conversation.events:
            self._at_end(conversation.events[-1].time)

    # -- what the client says

    def _from_client(self, event: Event) -> None:
        item, state = event.item, self._s
        if isinstance(item, Ended):
            state.closed.add("client")
            if state.goodbye is not None and "broker" not in state.closed:
                self._judge("closes", event.time - state.goodbye < GRACE, "the connection closed", "it stays open")
            return
        self._judge_silence(event.time)
        state.last = event.time
        if state.goodbye is not None:
            self._broke("nothing more", "nothing after DISCONNECT", _name(item))
            return
        if state.connect is None:
            self._first(item, event)
            return
        if isinstance(item, Malformed):
            self._malformed(item, event.octets)
            return
        self._judge_size(event)
        if prop(state.connect.properties, "authentication_method") is not None and state.connack is None:
            legal = isinstance(item, (Auth, Disconnect))
            self._judge("auth before connack", legal, "AUTH or DISCONNECT only", packet_name(item))
        if state.lied and event.time - state.connack_time > SETTLED and not isinstance(item, Disconnect):
            self._broke("lie", "the connection closed: there is no session", packet_name(item))
        handler = getattr(self, f"_{type(item).__name__.lower()}", None)
        if handler is not None:
            handler(item, event)

    def _first(self, item: Any, event: Event) -> None:
        is_connect = isinstance(item, Connect) or (event.octets[:1] and event.octets[0] >> 4 == PacketType.CONNECT)
        self._judge("connect first", is_connect, "CONNECT as the first packet", _name(item))
        if not is_connect:
            self._s.connect = Connect()  # it was no MQTT: nothing more can be held against it
            return
        self._kept("transport")
        version = judge_connect(event.octets, self.opinions)
        self._s.version = version or self.version
        if not isinstance(item, Connect):
            self._s.connect = Connect()
            return
        self._s.connect = item
        key = self.opinions.situation, item.client_id
        if item.clean_start or key not in self._sessions:
            self._sessions[key] = Kept()
        self._s.session = self._sessions[key]

    def _malformed(self, error: Malformed, octets: bytes) -> None:
        kind = octets[0] >> 4 if octets else 0
        broken = error.rule.partition(":")[2]
        if error.rule.startswith(self.version.spec):
            self.opinions.broke([broken], "a well-formed packet", error.detail)
        if "topic_alias is 0" in error.detail:
            self._broke("alias zero", "an alias above 0", error.detail)
        if broken in ("MQTT-1.5.3-1", "MQTT-1.5.4-1", "MQTT-1.5.3-2", "MQTT-1.5.4-2") and kind in TEXTS:
            self._broke(TEXTS[PacketType(kind)], "filters in UTF-8", octets[:40].hex(" "))

    def _publish(self, packet: Publish, event: Event) -> None:
        state, session = self._s, self._s.session
        shown = f"PUBLISH {packet.topic[:60]!r} qos {packet.qos} id {packet.packet_id} dup {int(packet.dup)}"
        wild = "+" in packet.topic or "#" in packet.topic
        self._judge("topic", not wild, "a topic without wildcards", shown)
        self._judge("subscription id", prop(packet.properties, "subscription_identifier") is None, "none", shown)
        self._judge_limits(packet, shown)
        if packet.packet_id is None or not packet.qos:
            self._judge("dup qos 0", not packet.dup, "DUP 0 at QoS 0", shown)
            return
        number = packet.packet_id
        if number in state.due or (packet.dup and number in session.out):
            self._repeated(packet, number, shown)
            return
        in_use = number in session.out or number in state.requests
        if in_use and session.out.get(number) == "pubrel":
            self._broke("no publish after pubrel", "no PUBLISH once PUBREL was sent", shown)
        self._judge("fresh id", number and not in_use, "a packet id that is not in use", shown)
        if state.forgot and packet.dup:
            self._broke("forgotten", "the session's messages discarded after Session Present 0", shown)
        elif not (packet.dup and session.torn):  # else it was sent when the connection broke
            self._judge("first dup", not packet.dup, "DUP 0 at the first sending", shown)
        if state.due and state.connack and not packet.dup:
            self._owes(shown)
        session.place += 1
        session.order[number] = session.place
        session.out[number] = f"publish {packet.qos}"
        self._judge_window(shown)

    def _repeated(self, packet: Publish, number: int, shown: str) -> None:
        state, session = self._s, self._s.session
        was = state.due.pop(number, session.out.get(number, ""))
        if was == "pubrel":
            self._broke("no publish after pubrel", "PUBREL again, not PUBLISH", shown)
            return
        self._judge("repeated dup", packet.dup, "DUP 1 at a repetition", shown)
        self._kept("repeated")
        place = session.order.get(number, 0)
        self._judge("repeat order", place > state.resent, "repetitions in the original order", shown)
        state.resent = max(state.resent, place)

    def _owes(self, instead: str) -> None:
        owed = ", ".join(f"{what} id {number}" for number, what in self._s.due.items())
        self._broke("repeated", f"{owed} again, after the session was resumed", instead)
        self._s.due.clear()

    def _judge_limits(self, packet: Publish, shown: str) -> None:
        state = self._s
        alias = prop(packet.properties, "topic_alias")
        if alias is not None:
            self._judge("alias zero", alias != 0, "an alias above 0", shown)
        if state.connack is None:
            return
        said = state.connack.properties
        maximum = prop(said, "maximum_qos")
        if maximum is not None:
            self._judge("maximum qos", packet.qos <= maximum, f"at most QoS {maximum}", shown)
        if prop(said, "retain_available") == 0:
            self._judge("retain", not packet.retain, "no RETAIN: it is not available", shown)
        limit = prop(said, "topic_alias_maximum") or 0
        if limit:
            self._judge("alias maximum", (alias or 0) <= limit, f"aliases up to {limit}", f"alias {alias}")
        else:
            self._judge("alias absent", alias is None, "no alias: the server allows none", f"alias {alias}")

    def _judge_window(self, shown: str) -> None:
        connack = self._s.connack
        if connack is None or self.version is not Version.V5_0:
            return
        limit = prop(connack.properties, "receive_maximum") or 65535
        used = len(self._s.session.out)
        self._judge("window", used <= limit, f"at most {limit} messages under way", f"{used}, with {shown}")
        self._s.window_full = used >= limit

    def _judge_size(self, event: Event) -> None:
        if self._s.connack is None:
            return
        limit = prop(self._s.connack.properties, "maximum_packet_size")
        if limit is not None:
            self._judge("size", len(event.octets) <= limit, f"at most {limit} octets", f"{len(event.octets)} octets")

    def _subscribe(self, packet: Subscribe, event: Event) -> None:
        self._request(packet.packet_id, "SUBSCRIBE")
        self._kept("subscribe text", "subscribe one")
        for entry in packet.subscriptions:
            self._judge_filter(entry.filter)
            shared = entry.filter.startswith("$share/")
            if shared or entry.no_local:
                self._judge("no local", not (shared and entry.no_local), "No Local 0 where shared", entry.filter)

    def _unsubscribe(self, packet: Unsubscribe, event: Event) -> None:
        self._request(packet.packet_id, "UNSUBSCRIBE")
        self._kept("unsubscribe text", "unsubscribe one")
        for entry in packet.filters:
            self._judge_filter(entry)

    def _request(self, number: int, name: str) -> None:
        in_use = number in self._s.session.out or number in self._s.requests
        self._judge("fresh id", number and not in_use, "a packet id that is not in use", f"{name} id {number}")
        self._s.requests.add(number)

    def _judge_filter(self, text: str) -> None:
        levels = text.split("/")
        if self.version is Version.V5_0 and levels[0] == "$share":
            name = levels[1] if len(levels) > 1 else ""
            self._judge("share name", bool(name), "$share/NAME/FILTER", text)
            legal = not set("+#") & set(name) and len(levels) > 2 and "/".join(levels[2:]) != ""
            self._judge("share filter", legal, "a name without wildcards, a slash and a filter", text)
            levels = levels[2:]
        if "#" in text:
            alone = not levels or (levels[-1] == "#" and "#" not in "".join(levels[:-1]))
            self._judge("hash", alone, "# alone on the last level", text)
        if "+" in text:
            whole = all(level == "+" for level in levels if "+" in level)
            self._judge("plus", whole, "+ alone on its level", text)

    def _puback(self, packet: Puback, event: Event) -> None:
        self._answer(self._s.pubacks, packet.packet_id, "puback order", "PUBACK")

    def _pubrec(self, packet: Pubrec, event: Event) -> None:
        self._answer(self._s.pubrecs, packet.packet_id, "pubrec order", "PUBREC")

    def _answer(self, waiting: dict[int, float], number: int, order: str, name: str) -> None:
        if number not in waiting:
            return
        first = next(iter(waiting))
        self._judge(order, number == first, f"{name} for {first} first: it arrived before", f"{name} for {number}")
        self._kept("acknowledged", "aliases taken" if self._s.version is Version.V5_0 and self._aliased else "")
        waiting.pop(number)

    def _pubrel(self, packet: Pubrel, event: Event) -> None:
        state, number = self._s, packet.packet_id
        if state.forgot and number not in state.session.out:
            self._broke("forgotten", "the session discarded after Session Present 0", f"PUBREL {number}")
            return
        if state.due.pop(number, None) == "pubrel":
            self._kept("repeated")
            return
        if number in state.pubrels:
            first = next(iter(state.pubrels))
            legal = number == first
            self._judge("pubrel order", legal, f"PUBREL for {first} first", f"PUBREL for {number}")
            self._kept("pubrel")
            state.pubrels.pop(number)
        if number in state.session.out:
            state.session.out[number] = "pubrel"

    def _pubcomp(self, packet: Pubcomp, event: Event) -> None:
        if self._s.pubcomps.pop(packet.packet_id, None) is not None:
            self._kept("pubcomp")

    def _disconnect(self, packet: Disconnect, event: Event) -> None:
        state = self._s
        state.goodbye = event.time
        if self._aliased:
            taken = packet.reason_code != ReasonCode.TOPIC_ALIAS_INVALID
            self._judge("aliases taken", taken, "every alias up to the announced maximum", "DISCONNECT 0x94")
        if state.due and state.connack and event.time - state.connack_time > SETTLED:
            self._owes("DISCONNECT")
        for waiting, name, what in (
            (state.pubacks, "acknowledged", "PUBACK"),
            (state.pubrecs, "acknowledged", "PUBREC"),
            (state.pubrels, "pubrel", "PUBREL"),
            (state.pubcomps, "pubcomp", "PUBCOMP"),
        ):
            for number, since in waiting.items():
                if event.time - since > SETTLED:
                    self._broke(name, f"{what} {number}", f"DISCONNECT {event.time - since:.1f} s later")

    def _auth(self, packet: Auth, event: Event) -> None:
        state = self._s
        assert state.connect is not None
        method = prop(state.connect.properties, "authentication_method")
        self._judge("auth unasked", method is not None, "no AUTH without a method in CONNECT", "AUTH")
        if method is None:
            return
        if packet.reason_code == 0x19 and state.connack is not None:
            state.reauthenticating = True
            said = prop(packet.properties, "authentication_method")
            self._judge("auth method", said == method, f"the method of CONNECT, {method!r}", repr(said))
        else:
            self._judge("auth code", packet.reason_code == 0x18, "0x18, to go on", f"{packet.reason_code:#04x}")

    # -- what the broker says

    def _from_broker(self, event: Event) -> None:
        item, state = event.item, self._s
        if isinstance(item, Ended):
            state.closed.add("broker")
            if state.goodbye is not None and "client" not in state.closed:
                self._broke("closes", "the connection closed after DISCONNECT", f"it stays open for {GRACE:g} s")
                state.goodbye = None
        elif isinstance(item, Connack):
            self._connack(item, event.time)
        elif isinstance(item, Publish):
            self._aliased = prop(item.properties, "topic_alias") is not None
            if item.qos and item.packet_id:
                (state.pubacks if item.qos == 1 else state.pubrecs).setdefault(item.packet_id, event.time)
        elif isinstance(item, (Puback, Pubcomp)):
            self._finish(item.packet_id)
        elif isinstance(item, Pubrec):
            if item.reason_code >= 0x80:
                self._finish(item.packet_id)
            elif state.session.out.get(item.packet_id, "").startswith("publish"):
                state.pubrels.setdefault(item.packet_id, event.time)
        elif isinstance(item, Pubrel):
            state.pubcomps.setdefault(item.packet_id, event.time)
        elif isinstance(item, (Suback, Unsuback)):
            state.requests.discard(item.packet_id)

    def _finish(self, number: int) -> None:
        self._s.session.out.pop(number, None)
        self._s.due.pop(number, None)
        self._s.window_full = False

    def _connack(self, packet: Connack, when: float) -> None:
        state = self._s
        state.connack, state.connack_time = packet, when
        if packet.reason_code or state.connect is None:
            return
        if packet.session_present and state.connect.clean_start and state.version is Version.V5_0:
            state.lied = True
        elif not packet.session_present and not state.connect.clean_start:
            state.forgot = bool(state.session.out)
            state.session.out.clear()
            if state.forgot and state.version is not Version.V5_0:
                state.forgot = False  # 3.1.1 does not say what a client has to do then
        elif packet.session_present:
            state.due = dict(state.session.out)

    # -- time and ends

    def _judge_silence(self, now: float) -> None:
        """A client that is silent for longer than its keep-alive breaks it; it gets a tolerance."""
        state = self._s
        if state.connect is None or state.connack is None or state.connack.reason_code or state.goodbye is not None:
            return
        ordered = prop(state.connack.properties, "server_keep_alive")
        seconds = state.connect.keep_alive if ordered is None else ordered
        if not seconds or now - state.begun < seconds:
            return
        silence = now - state.last
        legal = silence <= seconds * 1.25 + TOLERANCE
        name = "keep alive" if ordered is None else "server keep alive"
        shown = f"{silence:.1f} s of silence"
        self._judge(name, legal, f"something to be sent within {seconds} s", shown)
        if state.window_full:
            self._judge("window delays", legal, "PINGREQ though no PUBLISH may be sent", shown)

    def _at_end(self, now: float) -> None:
        state = self._s
        self._judge_silence(now)
        state.session.torn = state.session.torn or state.goodbye is None
        if state.lied:
            gone = state.goodbye is not None or "client" in state.closed
            early = gone and now - state.connack_time < GRACE
            self._judge("lie", early, "the connection closed: there is no session", "the client goes on")
        kept = {"nothing more": state.goodbye is not None, "forgotten": state.forgot}
        self._kept(*(name for name, so in kept.items() if so))
        if state.window_full and state.session.out:
            self._kept("window delays")

    def _ids(self, name: str) -> Iterable[str]:
        return IDS[name][self._s.version is Version.V5_0] if name else ()

    def _kept(self, *names: str) -> None:
        for name in names:
            self.opinions.kept(*self._ids(name))

    def _broke(self, name: str, expected: str, actual: str) -> None:
        self.opinions.broke(self._ids(name), expected, actual)

    def _judge(self, name: str, condition: object, expected: str, actual: str) -> None:
        self.opinions.judge(condition, self._ids(name), expected, actual)


def _name(item: Any) -> str:
    if isinstance(item, Malformed):
        return f"octets that are no packet: {item.detail}"
    return packet_name(item)

