"""One message queue (section 3.1.4): what waits, who consumes, what expires, what is dropped.

A queue knows nothing of frames. It hands entries to consumers through their channel and dead messages to its host.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from mqproof.harness.reference.amqp.arguments import queue_settings
from mqproof.harness.reference.amqp.clock import Clock, Timer
from mqproof.harness.reference.amqp.consumers import Consumer, Rotation
from mqproof.harness.reference.amqp.message import Entry, Message
from mqproof.harness.reference.amqp.ready import Ready

if TYPE_CHECKING:
    from mqproof.harness.reference.amqp.channel import Channel

DELIVERY_LIMIT: Final = 20
"""Deliveries without acknowledgement after which a message goes to the dead-letter exchange, if its queue has one (rule
basic.deliver/01 says "a certain number of times"; x-delivery-limit sets another)."""

HOLD: Final = 0.5
"""Seconds for which a rejected message stays away from the channel that rejected it. Rule basic.reject.requeue/01
forbids to deliver it there again, and allows to hold it and do so at a later stage: this is that stage."""

_PASSED_MAX: Final = 100  # rejected entries that are passed over, lest a client that rejects thousands take our time


class QueueHost(Protocol):
    """The virtual host, as a queue sees it."""

    clock: Clock
    defective: Callable[[str], bool]

    def dead_letter(self, queue: "Queue", message: Message, reason: str) -> None:
        """Publish a dead message to the queue's dead-letter exchange, if it has one."""

    def queue_expired(self, queue: "Queue") -> None:
        """Delete a queue that was not used for its x-expires."""

    def queue_unused(self, queue: "Queue") -> None:
        """Delete an auto-delete queue whose last consumer has gone."""


class Queue:
    """A queue. ``exclusive_to``: the connection that alone may use it. ``deleted``: entries that come back are gone."""

    def __init__(
        self,
        name: str,
        host: QueueHost,
        *,
        durable: bool = False,
        auto_delete: bool = False,
        exclusive_to: object | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.durable = durable
        self.auto_delete = auto_delete
        self.exclusive_to = exclusive_to
        self.arguments = dict(arguments or {})
        self.settings = queue_settings(self.arguments)
        self.consumers = Rotation(single_active=self.settings.single_active_consumer and not host.defective("sac-all"))
        self.ready = Ready()
        self.deleted = False
        self._host = host
        self._next_position = 0
        self._forgotten_before = 0
        self._picky = False  # whether a no-local consumer was ever here
        self._expiring = False  # whether any entry ever had a time to live
        self._expiry_timer: Timer | None = None
        self._expiry_due: float | None = None
        self._use_timer: Timer | None = None
        self.touch()

    @property
    def exclusive(self) -> bool:
        """Whether one connection alone may use it."""
        return self.exclusive_to is not None

    def publish(self, message: Message) -> bool:
        """Take a message; False when the queue is full and refuses it (statement length-limit/03)."""
        if self.settings.overflow != "drop-head" and self._overflows(message):
            if self.settings.overflow == "reject-publish-dlx":
                self._host.dead_letter(self, message, "maxlen")
            return False
        self.expire()
        self.ready.push(self._entry(message))
        self.drain()
        self.expire()
        self._drop_overflow()
        return True

    def publish_at_once(self, message: Message) -> bool:
        """Take a message only if a consumer can be sent it now (rule basic.publish.immediate/01)."""
        self.expire()
        entry = self._entry(message)
        self.ready.push(entry)
        self.drain()
        if entry.deliveries:
            return True
        self.ready.remove(entry)
        return False

    def get(self) -> Entry | None:
        """Hand out the first entry for basic.get, or None; to who rejected it as well, since the client asks for it."""
        self.touch()
        self.expire()
        entry = self._next()
        if entry is not None:
            self.ready.remove(entry)
            entry.deliveries += 1
            self._arm_expiry()
        return entry

    def put_back(self, entries: Iterable[Entry], held_from: "Channel | None" = None) -> None:
        """Take entries that were delivered and not acknowledged, marked as redelivered, into their old places.

        ``held_from``: the channel that rejected them and shall not get them at once.
        """
        if self.deleted or self._host.defective("requeue-lost"):
            return
        back = [entry for entry in entries if entry.position >= self._forgotten_before and not self._is_spent(entry)]
        for entry in back:
            entry.redelivered = not self._host.defective("redelivered-unset")
            if self._host.defective("requeue-at-tail"):
                entry.position, self._next_position = self._next_position, self._next_position + 1
            if self._host.defective("ttl-restarts") and entry.expires_at is not None:
                entry.expires_at = self._expires_at(entry.message)
            if held_from is not None:
                entry.held_from.add(held_from)
        if held_from is not None and back:
            self._host.clock.call_later(HOLD, self._release, back, held_from)
        self.ready.put_back(back)
        self.expire()
        self.drain()
        if self.settings.overflow == "drop-head":
            self._drop_overflow()

    def discard(self, entry: Entry, reason: str) -> None:
        """Drop an entry that is not in the ready line any more, by way of the dead-letter exchange."""
        self._host.dead_letter(self, entry.message, reason)

    def purge(self) -> int:
        """Drop all that waits, and return how many; what is delivered and not settled stays (rule queue.purge/02)."""
        if self._host.defective("purge-takes-unacked"):
            self._forgotten_before = self._next_position
        return len(self.ready.clear())

    def attach(self, consumer: Consumer) -> None:
        """Take a consumer; deliveries start with the next :meth:`drain`."""
        self._picky = self._picky or (consumer.no_local and not self._host.defective("no-local-ignored"))
        self.consumers.add(consumer)
        self.touch()

    def detach(self, consumer: Consumer) -> None:
        """Forget a consumer; the others may take over."""
        self.consumers.remove(consumer)
        self.touch()

    def drain(self) -> None:
        """Hand out entries while a consumer can take one."""
        while len(self.ready) and self.consumers.waiting and self._deliver_next():
            pass
        self._arm_expiry()

    def expire(self) -> None:
        """Drop what has reached its time to live.

        Only at the head of each priority, as in RabbitMQ: an expired message behind one that has not expired goes when
        it comes to the head (statement message-ttl-message/01).
        """
        if not self._expiring:
            return
        now = self._host.clock.time()
        while due := [e for e in self.ready.heads() if e.expires_at is not None and e.expires_at <= now]:
            for entry in due:
                self.ready.remove(entry)
                self._host.dead_letter(self, entry.message, "expired")
        self._arm_expiry()

    def touch(self) -> None:
        """Restart the period of x-expires: the queue was declared, fetched from, or its consumers changed."""
        if self.settings.expires is None or self._host.defective("expires-ignored"):
            return
        if self._use_timer is not None:
            self._use_timer.cancel()
            self._use_timer = None
        if not len(self.consumers) and not self.deleted:
            self._use_timer = self._host.clock.call_later(self.settings.expires, self._host.queue_expired, self)

    def remove(self) -> list[Entry]:
        """Mark the queue as deleted, stop its timers, and return what was waiting."""
        self.deleted = True
        for timer in (self._use_timer, self._expiry_timer):
            if timer is not None:
                timer.cancel()
        return self.ready.clear()

    def _entry(self, message: Message) -> Entry:
        level = min(message.priority, self.settings.max_priority)
        if self._host.defective("priority-ignored"):
            level = 0
        elif self._host.defective("priority-reversed"):
            level = -level
        expires_at = self._expires_at(message)
        self._expiring = self._expiring or expires_at is not None
        entry = Entry(message, self._next_position, level, expires_at)
        self._next_position += 1
        return entry

    def _expires_at(self, message: Message) -> float | None:
        """Return when the lower of queue's and message's time to live ends (statement message-ttl-message/03)."""
        limits = [ttl for ttl in (self.settings.message_ttl, message.ttl) if ttl is not None]
        if not limits or self._host.defective("ttl-ignored"):
            return None
        return self._host.clock.time() + min(limits)

    def _next(self) -> Entry | None:
        return self.ready.last() if self._host.defective("fifo-reversed") else self.ready.first()

    def _deliver_next(self) -> bool:
        """Deliver the first entry that some consumer with room accepts; False when there is none.

        An entry that nobody may have now (just rejected, or no-local) is passed over and keeps its place.
        """
        passed = 0
        for entry in [last] if (last := self._reversed_next()) else self.ready:
            consumer = self.consumers.choose(entry)
            if consumer is not None:
                self.ready.remove(entry)
                self._hand_over(consumer, entry)
                return True
            if not self.consumers.waiting or not (self._picky or entry.held_from or entry.message.is_bulky):
                return False
            passed += bool(entry.held_from)
            if passed > _PASSED_MAX:
                return False  # the hold ends soon, and then this is called again
        return False

    def _reversed_next(self) -> Entry | None:
        return self.ready.last() if self._host.defective("fifo-reversed") else None

    def _hand_over(self, consumer: Consumer, entry: Entry) -> None:
        entry.deliveries += 1
        consumer.channel.deliver(consumer, entry)
        if self._host.defective("delivered-twice"):
            other = self.consumers.choose(entry)
            if other is not None and other is not consumer:
                other.channel.deliver(other, entry)

    def _release(self, entries: list[Entry], channel: "Channel") -> None:
        for entry in entries:
            entry.held_from.discard(channel)
        if not self.deleted:
            self.drain()

    def _is_spent(self, entry: Entry) -> bool:
        """Tell whether an entry has come back too often (rule basic.deliver/01), and bury it if so."""
        limit = self.settings.delivery_limit
        if limit is None and self.settings.dead_letter_exchange is not None:
            limit = DELIVERY_LIMIT
        if limit is None or entry.deliveries <= limit:
            return False
        self._host.dead_letter(self, entry.message, "delivery_limit")
        return True

    def _overflows(self, message: Message) -> bool:
        if self._host.defective("max-length-ignored"):
            return False
        return self._exceeds(len(self.ready) + 1, self.ready.octets + len(message.body))

    def _exceeds(self, count: int, octets: int) -> bool:
        settings = self.settings
        too_many = settings.max_length is not None and count > settings.max_length
        return too_many or (settings.max_length_bytes is not None and octets > settings.max_length_bytes)

    def _drop_overflow(self) -> None:
        """Drop the oldest ready messages beyond the limits (statements length-limit/01 and 02).

        Rule basic/02 forbids to drop persistent messages when a queue overflows. A limit that the application itself
        set is read as its wish to keep the newest messages, persistent or not.
        """
        if self._host.defective("max-length-ignored"):
            return
        while self._exceeds(len(self.ready), self.ready.octets):
            entry = self.ready.last() if self._host.defective("overflow-drops-new") else self.ready.first()
            if entry is None:
                return
            self.ready.remove(entry)
            self._host.dead_letter(self, entry.message, "maxlen")

    def _arm_expiry(self) -> None:
        """Have :meth:`expire` called when the next head reaches its time."""
        if not self._expiring:
            return
        due = min((e.expires_at for e in self.ready.heads() if e.expires_at is not None), default=None)
        if due == self._expiry_due and self._expiry_timer is not None:
            return
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
            self._expiry_timer = None
        self._expiry_due = due
        if due is not None and not self.deleted:
            self._expiry_timer = self._host.clock.call_later(max(due - self._host.clock.time(), 0), self._expiry_came)

    def _expiry_came(self) -> None:
        self._expiry_timer = None
        self.expire()
        self.drain()
