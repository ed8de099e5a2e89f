"""The broker's state: who subscribed to what, what is retained, which sessions exist, and where a message goes.

It has no socket and no clock: ``clock`` (seconds, monotonic) is passed in, and whoever drives the broker calls ``tick``
when ``timers.next_due()`` has come. One instance serves one thread.

Choices the text leaves open: overlapping subscriptions of a session get one copy at the highest granted QoS, with all
their identifiers, and with RETAIN kept if one of them asked for Retain As Published (section 3.3.4); topics that start
with $SYS/ belong to the server, other names with a dollar sign may be published to (section 4.7.2 is a SHOULD); PUBACK
and PUBREC say 0x10 when nobody subscribed; the payload's format is not checked (3.3.2.3.2).
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from mqproof.harness.reference.mqtt.defects import check_known
from mqproof.harness.reference.mqtt.delivery import Delivery, Message
from mqproof.harness.reference.mqtt.limits import Limits
from mqproof.harness.reference.mqtt.retained import RetainedStore
from mqproof.harness.reference.mqtt.session import Grant, Session, Sessions
from mqproof.harness.reference.mqtt.shared import ShareGroup
from mqproof.harness.reference.mqtt.timers import Timers
from mqproof.harness.reference.mqtt.topics import FilterTree

VERSION_TOPIC = "$SYS/broker/version"
PRODUCT = "mqproof reference broker"


class Broker:
    """An MQTT 3.1.1 and 5.0 broker, without its connections.

    ``users``: passwords by user name; None lets everybody in. ``defects``: see defects.py.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        limits: Limits | None = None,
        defects: frozenset[str] = frozenset(),
        users: dict[str, bytes] | None = None,
        version: str = "0",
    ) -> None:
        self._defects = check_known(frozenset(defects))
        self._clock = clock
        self.limits = limits or Limits()
        self.users = users
        self.now = clock()
        self.timers = Timers()
        self.retained = RetainedStore(self.defective)
        self.sessions = Sessions(self.defective, self.timers, lambda: self.now, self._session_ended, self._publish_will)
        self._filters: FilterTree[Grant] = FilterTree(self.defective)
        self._shares: FilterTree[ShareGroup] = FilterTree(self.defective)
        self._pumps: dict[Session, None] = {}
        self._assigned = 0
        self.aliases_kept: dict[str, dict[int, str]] = {}  # for a defect only
        self.retained.note(Message(VERSION_TOPIC, f"{PRODUCT} {version}".encode(), 1, True))

    def defective(self, name: str) -> bool:
        """Whether the broker was asked to break this promise."""
        return name in self._defects

    def wake(self) -> float:
        """Read the clock: everything that happens until the next call happens at this moment. Return it."""
        self.now = self._clock()
        return self.now

    def tick(self) -> None:
        """Do what has fallen due."""
        self.timers.run(self.wake())
        self.flush()

    def flush(self) -> None:
        """Send what was queued since the last time, after the acknowledgements that were sent at once."""
        while self._pumps:
            sessions, self._pumps = self._pumps, {}
            for session in sessions:
                if session.connection is not None:
                    session.connection.pump()

    def assign_client_id(self) -> str:
        """Return a client identifier that no session uses (MQTT-3.1.3-6, MQTT-3.2.2-16), of letters and digits."""
        while not self.defective("assigned-id-constant"):
            self._assigned += 1
            candidate = f"mqproofassigned{self._assigned}"
            if candidate not in self.sessions:
                return candidate
        return "mqproofassigned"

    # -- subscriptions

    def subscribe(self, session: Session, text: str, grant: Grant, retain_handling: int) -> None:
        """Add or replace a subscription and queue the retained messages it brings (3.8.4, 3.3.1.3)."""
        old = session.grants.get(text)
        if old is None:
            session.filter_octets += len(text)
        if old is None or not self.defective("subscription-not-replaced"):
            self._enter(session, text, grant)
        if old is not None and self.defective("subscription-lost-on-replace"):
            session.outbox.forget_waiting()
        for delivery in self._retained_for(session, grant, retain_handling, is_new=old is None):
            self.deliver(session, delivery)

    def _enter(self, session: Session, text: str, grant: Grant) -> None:
        session.grants[text] = grant
        if grant.share is None:
            self._filters.put(grant.filter, session.client_id, grant)
            return
        group = self._shares.get(grant.filter, grant.share)
        if group is None:
            group = ShareGroup(self.defective)
            self._shares.put(grant.filter, grant.share, group)
        group.join(session, grant)

    def _retained_for(self, session: Session, grant: Grant, handling: int, *, is_new: bool) -> list[Delivery]:
        to_shared = grant.share is not None and self.defective("retained-to-shared")
        if grant.share is not None and not to_shared:
            return []
        wanted = to_shared or handling == 0 or (handling == 1 and is_new)
        # MQTT-3.3.1-9, MQTT-3.3.1-10, MQTT-3.3.1-11; 3.1.1: MQTT-3.3.1-6, MQTT-3.3.1-8
        if not is_new and self.defective("retained-on-new-only"):
            wanted = False
        if not (wanted or self.defective("retain-handling-ignored")):
            return []
        own = grant.no_local and not self.defective("no-local-ignored")
        identifiers = self._identifiers([grant.identifier])
        return [
            Delivery(message, min(grant.qos, message.qos), True, identifiers)
            for message in self.retained.select(grant.filter, self.now)
            if not (own and message.publisher == session.client_id)  # MQTT-3.8.3-3
        ]

    def unsubscribe(self, session: Session, text: str) -> bool:
        """Remove the subscription with exactly this filter (MQTT-3.10.4-1). Return whether there was one."""
        grant = session.grants.get(text)
        if grant is None or self.defective("unsubscribe-ignored"):
            return grant is not None
        del session.grants[text]
        session.filter_octets -= len(text)
        self._leave(session, grant)
        return True

    def _leave(self, session: Session, grant: Grant) -> None:
        if grant.share is None:
            self._filters.remove(grant.filter, session.client_id)
            return
        group = self._shares.get(grant.filter, grant.share)
        if group is not None:
            group.leave(session)
            if not group:
                self._shares.remove(grant.filter, grant.share)

    # -- messages

    def publish(self, message: Message) -> int:
        """Retain and route a message. Return how many subscriptions wanted it (MQTT-4.5.0-1)."""
        self.retained.note(message)
        reached = 0
        for client_id, delivery in self._plain_copies(message).items():
            if session := self.sessions.get(client_id):
                self.deliver(session, delivery)
                reached += 1
        for name, group in self._shares.match(message.topic) if self._shares else ():
            for session, grant in group.choose(message.qos):
                self.deliver(session, self._copy(message, [grant], group=(grant.filter, name)))
                reached += 1
        return reached

    def _plain_copies(self, message: Message) -> dict[str, Delivery]:
        grants: dict[str, list[Grant]] = {}
        for client_id, grant in self._filters.match(message.topic):
            if grant.no_local and client_id == message.publisher and not self.defective("no-local-ignored"):
                continue  # MQTT-3.8.3-3
            grants.setdefault(client_id, []).append(grant)
        return {client_id: self._copy(message, found) for client_id, found in grants.items()}

    def _copy(self, message: Message, grants: list[Grant], group: tuple[str, str] | None = None) -> Delivery:
        """One copy for all matching subscriptions of a session: MQTT-3.3.4-2 to -4; 3.1.1: MQTT-3.3.5-1."""
        granted = (min if self.defective("overlap-lowest-qos") else max)(grant.qos for grant in grants)
        qos = min(granted, message.qos)  # MQTT-3.8.4-8
        if self.defective("granted-qos-ignored") or (group and self.defective("shared-qos-ignored")):
            qos = message.qos
        elif self.defective("always-granted-qos"):
            qos = granted
        identifiers = self._identifiers([grant.identifier for grant in grants])
        return Delivery(message, qos, self._retain_flag(message, grants), identifiers, group)

    def _retain_flag(self, message: Message, grants: list[Grant]) -> bool:
        """MQTT-3.3.1-12, -13; 3.1.1: MQTT-3.3.1-9."""
        if self.defective("retain-always-published"):
            return message.retain
        asked = any(grant.retain_as_published for grant in grants)
        return message.retain and asked and not self.defective("retain-as-published-ignored")

    def _identifiers(self, identifiers: Iterable[int | None]) -> tuple[int, ...]:
        given = tuple(identifier for identifier in identifiers if identifier is not None)
        if self.defective("identifiers-forgotten"):
            return ()
        return given[:1] if self.defective("overlap-first-identifier") else given

    def deliver(self, session: Session, delivery: Delivery) -> None:
        """Queue a message for a session; ``flush`` sends it."""
        outbox = session.outbox
        if session.connection is None and (delivery.qos == 0 or self.defective("offline-messages-lost")):
            return
        if len(outbox) >= self.limits.queue_messages or outbox.octets >= self.limits.queue_octets:
            if delivery.qos:
                self._over_quota(session)
            return
        outbox.offer(delivery)
        self._pumps[session] = None

    def resume(self, session: Session) -> None:
        """Let the next ``flush`` send what waits for this session."""
        self._pumps[session] = None

    def _over_quota(self, session: Session) -> None:
        """A session that cannot take a message it must take is ended: an administrative action (4.1, 4.13.2)."""
        session.expiry = 0
        if session.connection is not None:
            session.connection.quota_exceeded()
        else:
            self.sessions.end(session)

    def _publish_will(self, message: Message) -> None:
        """The interval of a will starts when it is published (3.1.3.2.4)."""
        retain = message.retain and not self.defective("will-not-retained")
        properties = () if self.defective("will-properties-lost") else message.properties
        retain = retain or self.defective("will-always-retained")
        self.publish(replace(message, received=self.now, retain=retain, properties=properties))

    def _session_ended(self, session: Session) -> None:
        for grant in session.grants.values():
            if grant.share is None or not self.defective("shared-to-the-gone"):
                self._leave(session, grant)
        if self.defective("retained-with-session"):
            self.retained.forget_publisher(session.client_id)
        for delivery in session.outbox.remains():
            started = delivery.qos == 2 and delivery.packet_id is not None
            if delivery.group and (not started or self.defective("shared-redirected")):
                self.redirect(delivery)

    def redirect(self, delivery: Delivery) -> None:
        """Give another member what the chosen one did not finish: a SHOULD for QoS 1 (4.8.2), never QoS 2 that began.

        QoS 2 that was sent goes to nobody else (MQTT-4.8.2-5).
        """
        text, name = delivery.group or ("", "")
        group = self._shares.get(text, name)
        for session, grant in group.choose(delivery.message.qos) if group else ():
            self.deliver(session, self._copy(delivery.message, [grant], group=delivery.group))
