"""The state of QoS 0, 1 and 2 between two parties: MQTT 3.1.1 and 5.0 sections 4.3, 4.4, 4.6 and (5.0) 4.9.

Choices the text leaves open: a received QoS 2 message is passed on when its PUBLISH comes ("method B" of figure 4.3);
QoS 0 messages overtake QoS 1 and 2 messages that wait for a send window; nothing is sent again while a connection
lasts (5.0 forbids it, 3.1.1 allows it).
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from mqproof.harness.reference.mqtt.topics import Defective, sound

LAST_ID = 65535
OVERHEAD = 200  # octets that a message takes beside its contents


@dataclass(frozen=True, slots=True)
class Message:
    """An application message as it was accepted. ``properties``: those that are passed on, in the publisher's order."""

    topic: str
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    properties: tuple[tuple[str, Any], ...] = ()
    expiry: int | None = None  # seconds from ``received``
    received: float = 0.0  # seconds of the broker's clock
    publisher: str = ""  # client identifier
    dup: bool = False  # as it came; never passed on by a sound broker (MQTT-3.3.1-3)

    @property
    def size(self) -> int:
        """About how many octets it takes to keep it."""
        if not self.properties:
            return OVERHEAD + len(self.topic) + len(self.payload)
        named = sum(len(str(name)) + len(value) for name, value in self.properties if isinstance(value, str | bytes))
        pairs = sum(len(value[0]) + len(value[1]) for _, value in self.properties if isinstance(value, tuple))
        return OVERHEAD + len(self.topic) + len(self.payload) + named + pairs

    def expired(self, now: float) -> bool:
        """Whether the Message Expiry Interval has passed: MQTT 5.0 section 3.3.2.3.3."""
        return self.expiry is not None and now - self.received > self.expiry

    def remaining(self, now: float) -> int | None:
        """The interval less the whole seconds that the message waited (MQTT-3.3.2-6), never below 0."""
        return None if self.expiry is None else max(0, self.expiry - int(now - self.received))


@dataclass(slots=True)
class Delivery:
    """One message on its way to one session."""

    message: Message
    qos: int
    retain: bool = False
    identifiers: tuple[int, ...] = ()
    group: tuple[str, str] | None = None  # (filter, ShareName) of the shared subscription that chose this session
    packet_id: int | None = None
    dup: bool = False
    serial: int = 0  # place in the session's queue


class Outbox:
    """The sender's half of a session: what waits, what was sent, what was released."""

    def __init__(self, defective: Defective = sound) -> None:
        self._defective = defective
        self._at_most_once: deque[Delivery] = deque()
        self._waiting: deque[Delivery] = deque()  # QoS 1 and 2, never sent
        self._again: deque[Delivery] = deque()  # sent on an older connection, not yet on this one (MQTT-4.4.0-1)
        self._sent: dict[int, Delivery] = {}  # PUBLISH sent, neither PUBACK nor PUBREC came
        self._released: dict[int, Delivery] = {}  # PUBREL sent, no PUBCOMP came
        self._finished: deque[Delivery] = deque(maxlen=8)  # for a defect only
        self._next_id = 1
        self._serial = 0
        self._window = LAST_ID
        self.quota = LAST_ID
        self.octets = 0

    def __len__(self) -> int:
        return len(self._at_most_once) + len(self._waiting) + len(self._sent) + len(self._released)

    def begin(self, receive_maximum: int) -> list[int]:
        """Start on a new connection (4.4, 4.9). Return the packet identifiers whose PUBREL is to be sent again.

        Raising the quota anew follows 5.0 section 4.9; PUBREL does not wait for it.
        """
        self._window = self.quota = LAST_ID if self._defective("receive-maximum-ignored") else receive_maximum
        self._apply_defects()
        again = [replace(delivery, dup=True) for delivery in self._sent.values()]
        if self._defective("resent-in-reverse"):
            again.reverse()
        self._sent = {delivery.packet_id or 0: delivery for delivery in again}
        self._again = deque(again)
        return [] if self._defective("pubrel-not-resent") else list(self._released)

    def _apply_defects(self) -> None:
        defective = self._defective
        if defective("qos1-not-resent"):
            self._sent = {key: sent for key, sent in self._sent.items() if sent.qos != 1}
        if defective("qos2-not-resent"):
            self._sent = {key: sent for key, sent in self._sent.items() if sent.qos != 2}
        if defective("publish-after-pubrel"):
            self._sent |= self._released
            self._released = {}
        if defective("resent-after-ack"):
            self._sent |= {finished.packet_id or 0: finished for finished in self._finished}
        if defective("offline-reversed"):
            self._waiting.reverse()
        if defective("resent-with-new-id"):
            fresh = {(key + 1000) % LAST_ID + 1: sent for key, sent in self._sent.items()}
            self._sent = {key: replace(sent, packet_id=key) for key, sent in fresh.items()}

    def end(self) -> None:
        """The connection is gone: QoS 0 messages are not kept for a session without one."""
        self._again.clear()
        for delivery in self._at_most_once:
            self.octets -= delivery.message.size
        self._at_most_once.clear()
        if self._defective("in-flight-lost"):
            self._sent.clear()
            self._released.clear()

    def offer(self, delivery: Delivery) -> None:
        """Put a message at the end of the queue."""
        self._serial += 1
        delivery.serial = self._serial
        (self._waiting if delivery.qos else self._at_most_once).append(delivery)
        self.octets += delivery.message.size

    def take(self, now: float) -> Delivery | None:
        """Return what may be sent now, with its packet identifier; None when nothing waits or the window is full."""
        while self.quota > 0 and self._again:
            delivery = self._again.popleft()
            if self._sent.get(delivery.packet_id or 0) is delivery:
                self.quota -= 1
                return delivery
        while queue := self._next_queue():
            delivery = queue.popleft()
            if self._expired(delivery, now):  # MQTT-3.3.2-5
                self.octets -= delivery.message.size
            elif delivery.qos:
                return self._send_first(delivery)
            else:
                self.octets -= delivery.message.size
                return delivery
        return None

    def _next_queue(self) -> deque[Delivery] | None:
        """The queue whose turn it is: the older message's, but QoS 1 and 2 only within the window (MQTT-4.9.0-2)."""
        first, second = self._at_most_once, self._waiting
        if not second or self.quota <= 0 or len(self._sent) + len(self._released) >= LAST_ID:
            return first or None
        return first if first and first[0].serial < second[0].serial else second

    def _expired(self, delivery: Delivery, now: float) -> bool:
        return delivery.message.expired(now) and not self._defective("expiry-ignored")

    def _send_first(self, delivery: Delivery) -> Delivery:
        delivery.packet_id = self._unused_id()
        self._sent[delivery.packet_id] = delivery
        self.quota -= 1
        return delivery

    def _unused_id(self) -> int:
        """A non-zero identifier that is not in use: MQTT-2.2.1-4, MQTT-4.3.2-1, MQTT-4.3.3-1."""
        if self._defective("packet-id-constant"):
            return 1
        while self._next_id in self._sent or self._next_id in self._released:
            self._next_id = self._next_id % LAST_ID + 1
        chosen, self._next_id = self._next_id, self._next_id % LAST_ID + 1
        return chosen

    def qos_of(self, packet_id: int) -> int | None:
        """QoS of the PUBLISH that waits for its first acknowledgement under this identifier."""
        delivery = self._sent.get(packet_id)
        return delivery.qos if delivery else None

    def is_released(self, packet_id: int) -> bool:
        """Whether a PUBREL waits for its PUBCOMP under this identifier."""
        return packet_id in self._released

    def finish(self, packet_id: int) -> Delivery | None:
        """PUBACK, PUBCOMP or a refusing PUBREC came (or the packet was too large to send): the identifier is free."""
        delivery = self._sent.pop(packet_id, None) or self._released.pop(packet_id, None)
        if delivery:
            self.quota = min(self._window, self.quota + 1)
            self.octets -= delivery.message.size
            self._finished.append(delivery)
        return delivery

    def release(self, packet_id: int) -> None:
        """PUBREC came: from now on the PUBLISH is never sent again (MQTT-4.3.3-6)."""
        self._released[packet_id] = self._sent.pop(packet_id)

    def expire_started(self, now: float) -> None:
        """The defect of letting a started QoS 2 message expire, against MQTT-4.3.3-7."""
        for packet_id in [key for key, sent in self._sent.items() if sent.qos == 2 and sent.message.expired(now)]:
            self.finish(packet_id)

    def drop_started(self, wanted: Callable[[str], bool]) -> None:
        """The defect of forgetting what was started for these topics, against MQTT-3.10.4-3."""
        for packet_id in [key for key, sent in self._sent.items() if wanted(sent.message.topic)]:
            self.finish(packet_id)

    def forget_waiting(self) -> None:
        """The defect of dropping what waits when a subscription is replaced, against MQTT-3.8.4-4."""
        self._waiting.clear()

    def remains(self) -> list[Delivery]:
        """What was not finished when the session ends, in order; QoS 2 has ``packet_id`` set if it was started."""
        return [*self._sent.values(), *self._waiting]


class Inbox:
    """The receiver's half of a session: QoS 2 identifiers between PUBLISH and PUBREL (MQTT-4.3.3-10)."""

    def __init__(self, defective: Defective = sound) -> None:
        self._defective = defective
        self._held: set[int] = set()
        self._spent: set[int] = set()  # for a defect only

    def __contains__(self, packet_id: int) -> bool:
        return packet_id in self._held

    def accept(self, packet_id: int) -> bool:
        """Note a QoS 2 PUBLISH. Return whether it is a new message."""
        new = packet_id not in self._held and packet_id not in self._spent
        self._held.add(packet_id)
        return new or self._defective("qos2-delivered-again")

    def release(self, packet_id: int) -> bool:
        """PUBREL came: the next PUBLISH with this identifier is a new message. Return whether it was held."""
        known = packet_id in self._held
        self._held.discard(packet_id)
        if self._defective("qos2-id-never-freed"):
            self._spent.add(packet_id)
        return known

    def end(self) -> None:
        """The connection is gone; the identifiers are session state and stay (section 4.1)."""
        if self._defective("received-ids-lost"):
            self._held.clear()
