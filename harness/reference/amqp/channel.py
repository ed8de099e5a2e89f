"""One channel (section 4.3 and class channel): its consumers, what it delivered, its prefetch windows, its content.

The methods of each class are handled in the modules named after the classes; they act through this object. Delivery
tags are the channel's own and start at 1 (domain delivery-tag).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mqproof.dissectors.amqp.codec import Body, ContentHeader, Method
from mqproof.dissectors.amqp.tables import METHODS
from mqproof.harness.reference.amqp.clock import Timer
from mqproof.harness.reference.amqp.consumers import Consumer
from mqproof.harness.reference.amqp.content import Assembly
from mqproof.harness.reference.amqp.errors import Refusal
from mqproof.harness.reference.amqp.frames import check_names
from mqproof.harness.reference.amqp.message import Entry, Message
from mqproof.harness.reference.amqp.queue import Queue
from mqproof.harness.reference.amqp.transaction import Transaction

if TYPE_CHECKING:
    from mqproof.harness.reference.amqp.connection import Connection
    from mqproof.harness.reference.amqp.topology import VirtualHost

Handler = Callable[["Channel", dict[str, Any]], None]
Publish = Callable[["Channel", Assembly], None]
_TAGS_REMEMBERED: Final = 1000


@dataclass(slots=True, eq=False)
class Delivery:
    """What went out under a delivery tag and is not settled. ``consumer``: None after basic.get.

    ``settling``: settled in a transaction that is not committed yet. ``due``: when it must be settled, on the clock.
    """

    tag: int
    entry: Entry
    queue: Queue
    consumer: Consumer | None
    settling: bool = False
    due: float = float("inf")


class Channel:
    """An open channel of a connection. ``closing``: the server sent channel.close and waits for close-ok."""

    def __init__(self, number: int, connection: "Connection", host: "VirtualHost") -> None:
        self.number = number
        self.connection = connection
        self.host = host
        self.closing = False
        self.flow = True  # rule channel.flow/initial-state
        self.consumers: dict[str, Consumer] = {}
        self.parked: dict[Consumer, None] = {}
        self.unacked: dict[int, Delivery] = {}
        self.last_queue: str | None = None
        self.prefetch_count = self.prefetch_size = 0  # for consumers to come (statement per-consumer-qos/01)
        self.shared_count = self.shared_size = 0  # for all consumers together (statement per-consumer-qos/02)
        self.transaction: Transaction | None = None
        self.confirms: Confirms | None = None
        self.reply_to: str | None = None
        self.reply_consumer: str | None = None
        self._outstanding = self._outstanding_octets = 0
        self._last_tag = 0
        self._next_check = 0.0
        self._overdue_timer: Timer | None = None
        self._tags_used: dict[str, None] = {}
        self._content: Assembly | None = None

    # Frames in

    def receive_method(self, frame: Method, handlers: dict[str, Handler]) -> None:
        """Act on a method. Raises Refusal: 505 inside a content, 503 for one that only clients get."""
        self.expect_no_content(frame)
        check_names(frame.arguments.get("arguments"))
        handler = handlers.get(frame.name)
        if handler is None:
            raise Refusal(503, f"{frame.name} is not for servers here")
        if METHODS[frame.name].content:
            self._content = Assembly(frame, self.connection.broker.max_message_size)
            if self.connection.broker.alarm is not None:
                self.connection.block(self.connection.broker.alarm)
            return
        self.flush_confirms()
        handler(self, frame.arguments)

    def expect_no_content(self, frame: Method) -> None:
        """Refuse a method inside a content with 505.

        Section 4.2.6 also says that any non-content frame marks the end of a content, so that a sender may abort it;
        but whoever receives an incomplete content must raise 505, and that is what remains visible.
        """
        if self._content is not None:
            raise Refusal(505, f"{frame.name} where the content of basic.publish is due")

    def receive_header(self, frame: ContentHeader, payload: bytes, publish: "Publish") -> None:
        """Take a content header; ``publish`` is called when the content is complete. Raises Refusal 505 or 501."""
        if self._content is None:
            raise Refusal(505, "a content header that no method announced")
        check_names(frame.properties.get("headers"))
        self._content.take_header(frame, payload)
        self._finish_content(publish)

    def receive_body(self, frame: Body, publish: "Publish") -> None:
        """Take a content body frame. Raises Refusal 505."""
        if self._content is None:
            raise Refusal(505, "a content body that no method announced")
        self._content.take_body(frame)
        self._finish_content(publish)

    def _finish_content(self, publish: "Publish") -> None:
        content = self._content
        if content is not None and content.complete:
            self._content = None
            publish(self, content)

    @property
    def method_in_content(self) -> Method | None:
        """The method whose content is being received."""
        return None if self._content is None else self._content.method

    # Frames out

    def send(self, name: str, **arguments: Any) -> None:
        """Send a method."""
        self.connection.send(self.number, name, arguments)

    def send_content(self, name: str, message: Message, **arguments: Any) -> None:
        """Send a method with a message."""
        self.connection.send_content(self.number, name, arguments, message)

    # Deliveries

    def has_room(self, consumer: Consumer, entry: Entry) -> bool:
        """Tell whether an entry may be sent to a consumer now: flow, the socket, and the prefetch windows.

        Windows are as RabbitMQ documents them: ``global`` false limits each later consumer by itself, true all
        consumers of the channel together (the text would say: of the channel, and of the connection). Consumers
        without acknowledgements have no limit (rule basic.qos.prefetch-count/01).
        """
        if not self.flow or self.closing or not self.connection.writable:
            return False
        if consumer.no_ack or self.host.defective("prefetch-ignored"):
            return True
        size = len(entry.message.body)
        own = self._fits(
            (consumer.outstanding, consumer.outstanding_octets + size), consumer.prefetch_count, consumer.prefetch_size
        )
        return own and self._fits(
            (self._outstanding, self._outstanding_octets + size), self.shared_count, self.shared_size
        )

    def _fits(self, after: tuple[int, int], count: int, size: int) -> bool:
        """Tell whether one message more fits; ``after``: messages outstanding now, octets outstanding with it.

        A client that has nothing in hand may always get one (rule basic.qos.prefetch-size/01). 0 is no limit.
        """
        outstanding, octets = after
        if count and outstanding >= count:
            return False
        idle = outstanding == 0 and not self.host.defective("prefetch-size-absolute")
        return not size or idle or octets <= size

    def deliver(self, consumer: Consumer, entry: Entry) -> None:
        """Send an entry to a consumer."""
        tag = self.hand_out(entry, consumer.queue, None if consumer.no_ack else consumer, keep=not consumer.no_ack)
        self.send_content(
            "basic.deliver",
            entry.message,
            consumer_tag=consumer.tag,
            delivery_tag=tag,
            redelivered=entry.redelivered,
            exchange=entry.message.exchange,
            routing_key=entry.message.routing_key,
        )

    def hand_out(self, entry: Entry, queue: Queue, consumer: Consumer | None, *, keep: bool) -> int:
        """Return a delivery tag for an entry, and ``keep`` it as unacknowledged."""
        self._last_tag += 1
        if keep:
            self.unacked[self._last_tag] = Delivery(self._last_tag, entry, queue, consumer)
            if consumer is not None:
                self._count(consumer, entry, 1)
            self._watch(self.unacked[self._last_tag])
        return self._last_tag

    def _watch(self, delivery: Delivery) -> None:
        """See to it that a delivery is not left unacknowledged for too long (statement consumer-timeout/01)."""
        timeout = delivery.queue.settings.consumer_timeout
        if timeout is None:
            timeout = self.connection.broker.settings.consumer_timeout
        if not timeout:
            return
        delivery.due = self.host.clock.time() + timeout
        if self._overdue_timer is None or delivery.due < self._next_check:
            self._check_at(delivery.due)

    def _check_at(self, due: float) -> None:
        if self._overdue_timer is not None:
            self._overdue_timer.cancel()
        self._next_check = due
        self._overdue_timer = self.host.clock.call_later(due - self.host.clock.time(), self._check_overdue)

    def _check_overdue(self) -> None:
        self._overdue_timer = None
        due = min((delivery.due for delivery in self.unacked.values()), default=None)
        if due is None:
            return
        if due > self.host.clock.time():
            self._check_at(due)
            return
        text = f"delivery acknowledgement on channel {self.number} timed out"
        self.connection.refuse(self.number, Refusal(406, text))

    def _count(self, consumer: Consumer, entry: Entry, sign: int) -> None:
        size = len(entry.message.body) * sign
        consumer.outstanding += sign
        consumer.outstanding_octets += size
        self._outstanding += sign
        self._outstanding_octets += size

    def claim(self, tag: int, multiple: bool) -> list[Delivery]:
        """Return the deliveries that a tag settles. Raises Refusal 406 for a tag that is not outstanding.

        Rule basic.ack.multiple/exists: a non-zero tag must be one that was delivered and not settled before, with
        ``multiple`` as without; tag 0 with ``multiple`` means all, of which there may be none.
        """
        if tag == 0 and multiple:
            return [delivery for delivery in self.unacked.values() if not delivery.settling]
        named = self.unacked.get(tag)
        if named is None or named.settling:
            raise Refusal(406, f"unknown delivery tag {tag}")
        if not multiple:
            return [named]
        found = []
        for delivery in self.unacked.values():
            if delivery.tag > tag:
                break
            if not delivery.settling:
                found.append(delivery)
        return found

    def release(self, deliveries: Iterable[Delivery]) -> None:
        """Forget deliveries, so that the prefetch windows open; :meth:`resume` lets them be filled again."""
        for delivery in deliveries:
            if self.unacked.pop(delivery.tag, None) is not None and delivery.consumer is not None:
                self._count(delivery.consumer, delivery.entry, -1)

    def resume(self) -> None:
        """Let the consumers that were out of room try again."""
        if not self.parked:
            return
        parked, self.parked = self.parked, {}
        for consumer in parked:
            consumer.queue.consumers.unpark(consumer)
        for queue in dict.fromkeys(consumer.queue for consumer in parked):
            if not queue.deleted:
                queue.drain()

    # Consumers

    def add_consumer(self, consumer: Consumer) -> None:
        """Take a consumer under its tag."""
        self.consumers[consumer.tag] = consumer
        self._tags_used[consumer.tag] = None
        if len(self._tags_used) > _TAGS_REMEMBERED:
            del self._tags_used[next(iter(self._tags_used))]

    def knew(self, tag: str) -> bool:
        """Tell whether a consumer tag was used on this channel, now or earlier."""
        return tag in self.consumers or tag in self._tags_used

    def drop_consumer(self, consumer: Consumer) -> None:
        """Forget a consumer and let its queue go on, or go away (auto-delete)."""
        self.consumers.pop(consumer.tag, None)
        self.parked.pop(consumer, None)
        consumer.queue.detach(consumer)
        if not consumer.queue.deleted:
            consumer.queue.drain()
            self.host.queue_unused(consumer.queue)

    def consumer_lost(self, consumer: Consumer) -> None:
        """Forget a consumer whose queue was deleted; a client that can take it is told (consumer-cancel-notify/01)."""
        self.consumers.pop(consumer.tag, None)
        self.parked.pop(consumer, None)
        consumer.queue.detach(consumer)
        if self.connection.client_can("consumer_cancel_notify") and not self.closing:
            self.send("basic.cancel", consumer_tag=consumer.tag, no_wait=True)

    def reply(self, message: Message) -> None:
        """Send a reply to the direct reply-to consumer of this channel (statement direct-reply-to/01)."""
        self._last_tag += 1
        self.send_content(
            "basic.deliver",
            message,
            consumer_tag=self.reply_consumer,
            delivery_tag=self._last_tag,
            exchange=message.exchange,
            routing_key=message.routing_key,
        )

    # Confirms

    def flush_confirms(self) -> None:
        """Send the acknowledgements that are due."""
        if self.confirms is not None:
            self.confirms.flush()

    # The end

    def stop(self) -> list[Queue]:
        """Stop all deliveries, and return the queues that lost a consumer. First step of the end."""
        self.closing = True
        queues = dict.fromkeys(consumer.queue for consumer in self.consumers.values())
        for consumer in self.consumers.values():
            consumer.queue.detach(consumer)
        self.consumers.clear()
        self.parked.clear()
        self._content = None
        self.transaction = None
        if self._overdue_timer is not None:
            self._overdue_timer.cancel()
        if self.reply_to is not None:
            self.host.router.requesters.pop(self.reply_to, None)
        return list(queues)

    def give_back(self) -> None:
        """Queue again what was not acknowledged (section 4.5). Second step; :meth:`stop` came before."""
        by_queue: dict[Queue, list[Entry]] = {}
        for delivery in self.unacked.values():
            by_queue.setdefault(delivery.queue, []).append(delivery.entry)
        self.unacked.clear()
        for queue, entries in by_queue.items():
            queue.put_back(entries)


class Confirms:
    """Publisher confirms of one channel: every publish gets its tag, and exactly one ack or nack (class confirm).

    Acks are sent together where they follow each other; a nack sends them first, so that tags rise.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._last = 0
        self._due: tuple[int, int] | None = None

    def next_tag(self) -> int:
        """Return the number of a publish: 1 for the first after confirm.select (statement publisher-confirms/02)."""
        self._last += 1
        return self._last

    def ack(self, tag: int) -> None:
        """Note that a publish was taken by all its queues, or went nowhere (statement publisher-confirms/04)."""
        self._due = (tag if self._due is None else self._due[0], tag)
        self._channel.connection.confirms_due[self._channel] = None

    def nack(self, tag: int) -> None:
        """Tell the client that a publish was refused (statement length-limit/03)."""
        self.flush()
        self._channel.send("basic.nack", delivery_tag=tag)

    def flush(self) -> None:
        """Send what is due."""
        if self._due is None:
            return
        first, last = self._due
        self._due = None
        self._channel.send("basic.ack", delivery_tag=last, multiple=first < last)
