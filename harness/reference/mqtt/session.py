"""Sessions and wills: MQTT 3.1.1 sections 3.1.2.4, 3.1.2.5, 4.1; MQTT 5.0 sections 3.1.2.4, 3.1.2.11.2, 3.1.3.2, 4.1.

Choices the text leaves open: a session whose expiry interval is 0 ends when its connection is taken over, so that the
connection that takes over finds none; messages queued before UNSUBSCRIBE are still delivered; QoS 0 messages are
not kept for a session without a connection. Sessions live in memory: they do not survive the server.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import TYPE_CHECKING

from mqproof.harness.reference.mqtt.delivery import Inbox, Message, Outbox
from mqproof.harness.reference.mqtt.timers import Timer, Timers
from mqproof.harness.reference.mqtt.topics import Defective

if TYPE_CHECKING:
    from mqproof.harness.reference.mqtt.connection import Connection

FOREVER = 0xFFFFFFFF  # Session Expiry Interval: the session does not expire, 3.1.2.11.2


@dataclass(frozen=True, slots=True)
class Grant:
    """A subscription as granted: its filter without the share prefix, and its options (5.0 section 3.8.3.1)."""

    filter: str
    qos: int
    no_local: bool = False
    retain_as_published: bool = False
    identifier: int | None = None
    share: str | None = None


@dataclass(slots=True)
class StoredWill:
    """A will as part of the session: ``delay`` in seconds (5.0 section 3.1.3.2.2; 0 in 3.1.1)."""

    message: Message
    delay: int = 0


@dataclass(slots=True, eq=False)
class Session:
    """What the server keeps for one client identifier (section 4.1)."""

    client_id: str
    outbox: Outbox
    inbox: Inbox
    expiry: int = 0  # seconds after the connection's end
    grants: dict[str, Grant] = field(default_factory=dict)  # by the filter as the client wrote it
    filter_octets: int = 0
    connection: "Connection | None" = None
    will: StoredWill | None = None
    timers: list[Timer] = field(default_factory=list)


class Sessions:
    """All sessions by client identifier (MQTT-3.1.3-2), their ends and their wills.

    ``ended(session)`` is told of every end; ``publish(message)`` takes wills. ``now`` returns the broker's time.
    """

    def __init__(
        self,
        defective: Defective,
        timers: Timers,
        now: Callable[[], float],
        ended: Callable[[Session], None],
        publish: Callable[[Message], None],
    ) -> None:
        self._sessions: dict[str, Session] = {}
        self._defective = defective
        self._timers = timers
        self._now = now
        self._ended = ended
        self._publish = publish

    def __len__(self) -> int:
        return len(self._sessions)

    def __contains__(self, client_id: str) -> bool:
        return self._key(client_id) in self._sessions

    def _key(self, client_id: str) -> str:
        return client_id.rstrip(ascii_uppercase) if self._defective("client-id-shared-state") else client_id

    def get(self, client_id: str) -> Session | None:
        """Return the stored session of a client identifier."""
        return self._sessions.get(self._key(client_id))

    def everyone(self) -> list[Session]:
        """Return all sessions."""
        return list(self._sessions.values())

    def open(self, client_id: str, clean_start: bool, expiry: int) -> tuple[Session, bool]:
        """Return the session for a new connection and whether it was resumed.

        MQTT-3.1.2-4, MQTT-3.1.2-5, MQTT-3.1.2-6, MQTT-3.2.2-2, MQTT-3.2.2-3; 3.1.1: MQTT-3.1.2-4, MQTT-3.1.2-6,
        MQTT-3.2.2-1 to -3.
        """
        session = self.get(client_id)
        if session is not None and clean_start and not self._defective("session-kept"):
            self.end(session)
            session = None
        present = session is not None
        if session is None:
            session = Session(client_id, Outbox(self._defective), Inbox(self._defective))
            self._sessions[self._key(client_id)] = session
        self._resume(session)
        session.expiry = expiry
        return session, present and not clean_start

    def _resume(self, session: Session) -> None:
        """Coming back in time withdraws a will that still waits (MQTT-3.1.3-9)."""
        will, session.will = session.will, None
        if will and session.timers and self._defective("will-survives-resume"):
            self._timers.at(session.timers[0].due, lambda: self._publish(will.message))
        for timer in session.timers:
            timer.cancel()
        session.timers.clear()
        if self._defective("subscriptions-forgotten"):
            self._ended(session)
            session.grants.clear()

    def closed(self, session: Session) -> None:
        """The session's connection is gone: its will falls due and its expiry begins (MQTT-3.1.2-8, MQTT-3.1.2-23)."""
        session.connection = None
        session.outbox.end()
        session.inbox.end()
        if session.expiry == 0 or self._defective("session-forgotten"):
            self._end_without_connection(session)
            return
        now = self._now()
        if session.will:
            delay = 0 if self._defective("will-delay-ignored") else session.will.delay
            if delay:
                session.timers.append(self._timers.at(now + delay, lambda: self.send_will(session)))
            else:
                self.send_will(session)
        if session.expiry != FOREVER and not self._defective("session-expiry-ignored"):
            session.timers.append(self._timers.at(now + session.expiry, lambda: self.end(session)))

    def _end_without_connection(self, session: Session) -> None:
        if not (self._defective("session-expiry-ignored") and session.expiry):
            self.end(session)

    def _leave_will_waiting(self, session: Session) -> None:
        will = session.will
        if will and will.delay:
            session.will = None
            due = session.timers[0].due if session.timers else self._now() + will.delay
            self._timers.at(due, lambda: self._publish(will.message))

    def send_will(self, session: Session) -> None:
        """Publish the will, once, and remove it (MQTT-3.1.2-10)."""
        will, session.will = session.will, None
        if will is None or self._defective("will-lost"):
            return
        for _ in range(2 if self._defective("will-twice") else 1):
            self._publish(will.message)

    def end(self, session: Session) -> None:
        """Discard the session; a will that still waits is published now (MQTT-3.1.2-8 of 5.0, MQTT-4.1.0-2)."""
        if self._defective("will-waits-for-delay"):
            self._leave_will_waiting(session)
        for timer in session.timers:
            timer.cancel()
        session.timers.clear()
        if self._sessions.get(self._key(session.client_id)) is session:
            del self._sessions[self._key(session.client_id)]
        self._ended(session)
        self.send_will(session)
