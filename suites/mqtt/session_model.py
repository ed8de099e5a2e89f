"""Sections 3.1.2.4, 3.3.1.3, 4.1 and 4.5 as plain Python: sessions, retained messages, and who gets what at which QoS.

The model keeps to what the text promises. Where it promises nothing (a message of QoS 0 for an absent client, a
retained message of QoS 0, a message that nobody was there to receive before somebody subscribed), it may come or not.
"""

from dataclasses import dataclass, field

from mqproof.suites.mqtt.topic_model import selects


@dataclass(frozen=True, slots=True)
class Message:
    """What was published; payloads are unique."""

    topic: str
    payload: bytes
    qos: int


@dataclass(frozen=True, slots=True)
class Expected:
    """A message that a session gets. ``why``: live, resumed (live, by a subscription that was stored), stored or
    retained; ``qos``: None where several are legal.
    """

    payload: bytes
    why: str
    must: bool
    qos: int | None


@dataclass(slots=True)
class Session:
    """A client's session: its subscriptions, and what it has got and will get."""

    kept: bool
    connected: bool = True
    filters: dict[str, int] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)  # filters that the client has unsubscribed from
    stored: set[str] = field(default_factory=set)  # filters that the client had before it came back
    expected: list[Expected] = field(default_factory=list)
    seen: set[bytes] = field(default_factory=set)


@dataclass(slots=True)
class Model:
    """All sessions by client, and the retained messages by topic."""

    sessions: dict[str, Session] = field(default_factory=dict)
    retained: dict[str, Message] = field(default_factory=dict)
    unmet: dict[bytes, str] = field(default_factory=dict)  # topics of what no connected client had subscribed to
    faded: set[bytes] = field(default_factory=set)  # retained messages that may be gone or not

    def connect(self, client: str, keep: bool) -> bool:
        """Return whether a stored session is resumed."""
        old = self.sessions.get(client)
        if keep and old is not None and old.kept:
            old.connected, old.stored = True, set(old.filters)
            return True
        self.sessions[client] = Session(keep)
        return False

    def end(self, client: str) -> None:
        """End the client's connection, and its session where that is not kept."""
        if self.sessions[client].kept:
            self.sessions[client].connected = False
        else:
            del self.sessions[client]

    def subscribe(self, client: str, pattern: str, qos: int) -> None:
        """Subscribe, or replace the subscription to the same filter; retained messages come either way."""
        session = self.sessions[client]
        session.filters[pattern] = qos
        session.stored.discard(pattern)
        session.removed.discard(pattern)
        for topic, message in self.retained.items():
            if selects(pattern, topic):
                expected = Expected(message.payload, "retained", message.qos > 0, min(qos, message.qos))
                session.expected.append(expected)

    def unsubscribe(self, client: str, pattern: str) -> None:
        """Remove a subscription."""
        self.sessions[client].filters.pop(pattern, None)
        self.sessions[client].removed.add(pattern)

    def publish(self, message: Message, retain: bool) -> None:
        """Give the message to every session with a matching subscription; an empty one only clears."""
        if retain:
            self._retain(message)
        if not message.payload:
            return
        is_met = False
        for session in self.sessions.values():
            granted = {pattern: qos for pattern, qos in session.filters.items() if selects(pattern, message.topic)}
            if granted:
                qos = min(max(granted.values()), message.qos)
                is_met |= session.connected
                sure = qos if len(granted) == 1 else None
                live = "resumed" if granted.keys() <= session.stored else "live"
                why = live if session.connected else "stored"
                session.expected.append(Expected(message.payload, why, session.connected or qos > 0, sure))
        if not is_met:
            self.unmet[message.payload] = message.topic

    def is_excused(self, client: str, payload: bytes, is_retained: bool) -> bool:
        """Whether a message that is not expected may come all the same; ``is_retained``: as its flag says."""
        session, topic = self.sessions[client], self.unmet.get(payload)
        is_late = topic is not None and not is_retained and any(selects(pattern, topic) for pattern in session.filters)
        return is_late or not payload or payload in session.seen or payload in self.faded

    def _retain(self, message: Message) -> None:
        old = self.retained.pop(message.topic, None)
        if old is not None and message.qos == 0:
            self.faded.add(old.payload)  # nothing tells when a message of QoS 0 has been handled
        if message.payload:
            self.retained[message.topic] = message
