"""Following AMQP 0-9-1 messages: content by channel, publisher confirms, deliveries and their acknowledgements.

Delivery tags count per channel, from 1 on (section 1.1, delivery-tag); a publisher's count begins with confirm.select,
which is RabbitMQ's extension.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final

from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.overhead.frames import Connection
from mqproof.dissectors.overhead.hops import Cost, Hop, Messages, Notice
from mqproof.dissectors.overhead.streams import Seen
from mqproof.dissectors.packets import state as w

AHEAD: Final = 64  # confirms of one channel
CHANNELS: Final = 2_048  # of one connection that are followed; RabbitMQ allows 2,047
OPEN: Final = 20_000  # hops of one channel and direction that wait for an acknowledgement
CONTENTS: Final = ("basic.publish", "basic.deliver", "basic.get-ok", "basic.return")
ACKNOWLEDGEMENTS: Final = ("basic.ack", "basic.nack", "basic.reject")


@dataclass(eq=False, slots=True)
class Content:
    """A method whose header and bodies are still coming; what it costs goes to its hop in the end."""

    method: amqp.Method
    first: int
    left: int = -1
    size: int = 0
    cost: Cost = field(default_factory=Cost)
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=12))
    message_id: str = ""
    hop: Hop | None = None

    def bare_ack(self, octets: float, packets: float) -> None:
        """Book a share of a packet that only acknowledges."""
        if self.hop is not None:
            self.hop.bare_ack(octets, packets)
        else:
            self.cost.octets += octets
            self.cost.bare += octets
            self.cost.packets += packets


@dataclass(eq=False, slots=True)
class _Channel:
    """What is known of a channel."""

    opened: bool = False  # channel.open was seen
    confirms: bool = False
    next_tag: int = 1
    coming: list[Content | None] = field(default_factory=lambda: [None, None])
    unconfirmed: OrderedDict[int, Hop] = field(default_factory=OrderedDict)
    unacknowledged: OrderedDict[int, Hop] = field(default_factory=OrderedDict)
    consumers: dict[str, tuple[str, bool]] = field(default_factory=dict)  # tag -> queue, no-ack
    asked: list[tuple[str, bool]] = field(default_factory=list)  # basic.consume without a tag of its own
    fetched: tuple[str, bool, Seen] | None = None  # basic.get: queue, no-ack
    ahead: dict[int, tuple[amqp.Method, Seen]] = field(default_factory=dict)  # confirms recorded before their publish


class AmqpHops:
    """Turns AMQP frames into hops."""

    def __init__(self, messages: Messages, notice: Notice) -> None:
        self._messages = messages
        self._notice = notice
        self._channels: dict[Connection, dict[int, _Channel]] = {}

    def frame(self, connection: Connection, side: int, seen: Seen) -> "Hop | Content | None":
        """Take a frame; return what its further costs go to, if it is about messages."""
        frame = seen.frame
        if not isinstance(frame, amqp.Method | amqp.ContentHeader | amqp.Body):
            return None
        channels = self._channels.setdefault(connection, {})
        channel = channels.get(frame.channel)
        if channel is None:
            if len(channels) >= CHANNELS:
                return None
            channel = channels[frame.channel] = _Channel()
        if isinstance(frame, amqp.Method):
            return self._method(connection, channel, side, seen, frame)
        content = channel.coming[side]
        if content is None:
            return None
        if isinstance(frame, amqp.ContentHeader):
            content.left = frame.body_size
            content.message_id = str(frame.properties.get("message_id", ""))
        else:
            content.left -= seen.payload
            content.size += seen.payload
            content.digest.update(frame.payload or seen.digest)
        content.cost.add(seen, 1.0)
        if content.left == 0:
            channel.coming[side] = None
            content.hop = self._complete(connection, channel, side, seen, content)
        return content

    def ended(self, connection: Connection) -> None:
        """The connection is over: nothing that is open will be acknowledged."""
        for channel in self._channels.pop(connection, {}).values():
            self._end(connection, channel, "broken_off" if connection.closed else "open_at_the_end")

    def _end(self, connection: Connection, channel: _Channel, how: str) -> None:
        if how == "broken_off" and channel.unconfirmed and not connection.holes:
            packets = [hop.packet for hop in channel.unconfirmed.values()]
            text = f"{len(packets)} publishes had no confirm when their channel or connection ended"
            self._notice(connection, "unconfirmed-publish", packets, text)
        for hop in (*channel.unconfirmed.values(), *channel.unacknowledged.values()):
            hop.group.counts[f"{how}_{'publishes' if hop.is_publish else 'deliveries'}"] += 1
        channel.unconfirmed.clear()
        channel.unacknowledged.clear()

    def _method(
        self, connection: Connection, channel: _Channel, side: int, seen: Seen, method: amqp.Method
    ) -> "Hop | Content | None":
        name, arguments = method.name, method.arguments
        if name in CONTENTS:
            content = channel.coming[side] = Content(method, seen.first.number)
            content.cost.add(seen, 1.0)
            return content
        if name in ACKNOWLEDGEMENTS:
            return self._acknowledge(connection, channel, side, seen, method)
        if name == "channel.open":
            channel.opened = True
        elif name in ("channel.close-ok", "channel.close"):
            self._end(connection, channel, "broken_off")
            self._channels[connection].pop(method.channel, None)
        elif name == "confirm.select" and not channel.confirms:
            channel.confirms, channel.next_tag = True, 1
        elif name == "basic.consume":
            entry = (str(arguments["queue"]), bool(arguments["no_ack"]))
            if len(channel.consumers) + len(channel.asked) >= CHANNELS:
                return None
            if arguments["consumer_tag"]:
                channel.consumers[arguments["consumer_tag"]] = entry
            else:
                channel.asked.append(entry)
        elif name == "basic.consume-ok" and arguments["consumer_tag"] not in channel.consumers and channel.asked:
            channel.consumers[arguments["consumer_tag"]] = channel.asked.pop(0)
        elif name == "basic.get":
            channel.fetched = (str(arguments["queue"]), bool(arguments["no_ack"]), seen)
        elif name == "basic.recover-ok":
            channel.unacknowledged.clear()
        return None

    def _complete(self, connection: Connection, channel: _Channel, side: int, seen: Seen, content: Content) -> Hop:
        """All of a message is there."""
        name, arguments = content.method.name, content.method.arguments
        route = f"{arguments['exchange'] or '(default)'} / {arguments['routing_key']}"
        key = ("amqp", route, content.digest.digest() + content.message_id.encode(), content.size)
        if name == "basic.publish":
            hop = self._messages.publish("amqp", key, seen, content.first, content.size, connection.file)
            hop.take(content.cost)
            self._await_confirm(connection, channel, hop)
            return hop
        if name == "basic.return":
            hop = self._messages.apart("amqp", route, seen, content.first, content.size, connection.file)
            hop.take(content.cost)
            hop.group.counts["returned"] += 1
            return hop
        queue, no_ack = self._consumer(channel, content)
        flag = "redelivered" if arguments["redelivered"] else ""
        consumer: Any = queue if queue else (connection.number, arguments.get("consumer_tag", ""))
        file = connection.file
        hop = self._messages.deliver("amqp", key, seen, content.first, content.size, file, consumer, flag)
        hop.take(content.cost)
        if no_ack:
            hop.group.counts["no_acknowledgement_wanted"] += 1
        elif no_ack is False:
            _remember(channel.unacknowledged, int(arguments["delivery_tag"]), hop)
        return hop

    def _await_confirm(self, connection: Connection, channel: _Channel, hop: Hop) -> None:
        counts = hop.group.counts
        if channel.confirms and not connection.holes:
            _remember(channel.unconfirmed, channel.next_tag, hop)
            early = channel.ahead.pop(channel.next_tag, None)
            channel.next_tag += 1
            if early is not None:
                self._settle([channel.unconfirmed.popitem()[1]], *early, confirm=True)
        elif channel.opened and not connection.holes:
            counts["no_confirm_wanted"] += 1
        else:
            counts["confirm_unknown"] += 1  # the capture does not show whether the channel confirms, or from where on

    def _consumer(self, channel: _Channel, content: Content) -> tuple[str, bool | None]:
        """Return queue and no-ack of a delivery; None where the capture does not show what the consumer wanted."""
        if content.method.name == "basic.deliver":
            return channel.consumers.get(str(content.method.arguments["consumer_tag"]), ("", None))
        if channel.fetched is None:
            return "", None
        queue, no_ack, asked = channel.fetched
        channel.fetched = None
        content.cost.add(asked, 1.0)  # the request is part of what the message cost
        return queue, no_ack

    def _acknowledge(
        self, connection: Connection, channel: _Channel, side: int, seen: Seen, method: amqp.Method
    ) -> Hop | None:
        """An ack, nack or reject, for one message or for all up to its tag; its cost is divided among them."""
        confirm = connection.role(side) == w.ROLE_BROKER
        table = channel.unconfirmed if confirm else channel.unacknowledged
        tag, multiple = int(method.arguments["delivery_tag"]), bool(method.arguments.get("multiple"))
        if confirm and channel.confirms and not multiple and tag >= channel.next_tag and len(channel.ahead) < AHEAD:
            channel.ahead[tag] = (method, seen)  # the recording has packets in another order than the wire
            return None
        return self._settle(_taken(table, tag, multiple), method, seen, confirm=confirm)

    def _settle(self, hops: list[Hop], method: amqp.Method, seen: Seen, *, confirm: bool) -> Hop | None:
        for hop in hops:
            hop.add(seen, 1 / len(hops))
            if method.name == "basic.ack":
                hop.acknowledged(seen)
            else:
                refused = "publishes" if confirm else "deliveries"
                hop.group.counts[f"refused_{refused}"] += 1
                hop.group.counts["requeued"] += not confirm and bool(method.arguments.get("requeue"))
        return hops[0] if hops else None


def _remember(table: OrderedDict[int, Hop], tag: int, hop: Hop) -> None:
    table[tag] = hop
    if len(table) > OPEN:
        _, oldest = table.popitem(last=False)
        oldest.group.counts["not_followed_to_the_end"] += 1


def _taken(table: OrderedDict[int, Hop], tag: int, multiple: bool) -> list[Hop]:
    """Take the hops off that an acknowledgement names; tag 0 with multiple names all."""
    if not multiple:
        hop = table.pop(tag, None)
        return [] if hop is None else [hop]
    tags = [number for number in table if tag == 0 or number <= tag]
    return [table.pop(number) for number in tags]
