"""Disturbs whole AMQP 0-9-1 messages: one stage before the broker that keeps both sides' books in order."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mqproof.dissectors.amqp.codec import ContentHeader, Frame, Method, content, method
from mqproof.harness.chaos.decisions import Decisions
from mqproof.harness.chaos.faults import DELIVERING, PUBLISHING
from mqproof.harness.chaos.scenario import Plan
from mqproof.harness.chaos.tags import Tags
from mqproof.harness.saboteur.core import AmqpConn, AmqpContentFault, AmqpResult

HOLD = 0.5  # seconds that a delivery is held back unless the plan says otherwise
SETTLING = ("basic.ack", "basic.nack", "basic.reject")
FRAME_MIN = 4096  # constant frame-min-size: what every peer takes before tune-ok


@dataclass(slots=True)
class Channel:
    """What one channel has under way."""

    deliveries: Tags = field(default_factory=Tags)  # near: the client's tags, far: the broker's
    publishes: Tags = field(default_factory=Tags)  # near: the broker's numbers, far: the client's
    published: int = 0  # by the client since confirm.select
    confirming: bool = False
    unacked: set[int] = field(default_factory=set)  # client's tags whose settling is lost
    unconfirmed: set[int] = field(default_factory=set)  # client's publishes whose confirm is lost
    cuts: set[int] = field(default_factory=set)  # client's publishes at whose confirm the connection is cut
    queues: dict[str, str] = field(default_factory=dict)  # consumer tag -> queue
    unsettled: set[str] = field(default_factory=set)  # consumer tags with no-ack
    asked: list[tuple[str, bool]] = field(default_factory=list)  # consume: queue and no-ack, answer under way
    got: list[tuple[str, bool]] = field(default_factory=list)  # get: queue and no-ack, answer under way
    held: list[Callable[[], None]] = field(default_factory=list)  # deliveries that wait for the next one


@dataclass(frozen=True, slots=True)
class Message:
    """A message with its method."""

    method: Method
    header: ContentHeader
    body: bytes

    def frames(self, frame_max: int, **changes: Any) -> list[Frame]:
        """Return its frames, with some arguments changed."""
        arguments = {**self.method.arguments, **changes}
        return content(
            self.method.name, self.method.channel, body=self.body, properties=self.header.properties,
            frame_max=frame_max, **arguments,
        )  # fmt: skip


class AmqpMessages(AmqpContentFault):
    """One connection's stage. ``number``: the connection's."""

    def __init__(self, decisions: Decisions, number: int) -> None:
        super().__init__()
        self._decisions = decisions
        self._number = number
        self._channels: dict[int, Channel] = {}
        self._frame_max = FRAME_MIN

    # -- methods without content

    def from_client(self, frame: Frame, conn: AmqpConn) -> AmqpResult:
        """Learn what is asked for, and translate what is settled."""
        if isinstance(frame, Method):
            if frame.name in SETTLING:
                return self._settled(frame)
            self._learn_from_client(frame)
        return super().from_client(frame, conn)

    def from_broker(self, frame: Frame, conn: AmqpConn) -> AmqpResult:
        """Learn consumer tags, and translate confirms."""
        if isinstance(frame, Method):
            if frame.name in ("basic.ack", "basic.nack"):
                return self._confirmed(frame, conn)
            self._learn_from_broker(frame)
        return super().from_broker(frame, conn)

    def _learn_from_client(self, frame: Method) -> None:
        channel, arguments = self._channel(frame.channel), frame.arguments
        if frame.name == "connection.tune-ok":
            self._frame_max = arguments["frame_max"] or 131072
        elif frame.name == "channel.open":
            self._channels[frame.channel] = Channel()
        elif frame.name == "confirm.select":
            channel.confirming = True
        elif frame.name == "basic.consume":
            if arguments["no_wait"]:
                self._consume(channel, arguments["consumer_tag"], arguments["queue"], arguments["no_ack"])
            else:
                channel.asked.append((arguments["queue"], arguments["no_ack"]))
        elif frame.name == "basic.get":
            channel.got.append((arguments["queue"], arguments["no_ack"]))

    def _learn_from_broker(self, frame: Method) -> None:
        channel = self._channel(frame.channel)
        if frame.name == "basic.consume-ok" and channel.asked:
            queue, no_ack = channel.asked.pop(0)
            self._consume(channel, frame.arguments["consumer_tag"], queue, no_ack)
        elif frame.name == "basic.get-empty" and channel.got:
            channel.got.pop(0)

    @staticmethod
    def _consume(channel: Channel, tag: str, queue: str, no_ack: bool) -> None:
        channel.queues[tag] = queue
        if no_ack:
            channel.unsettled.add(tag)

    # -- deliveries

    def message_from_broker(self, method: Method, header: ContentHeader, body: bytes, conn: AmqpConn) -> AmqpResult:
        """Decide on a delivery."""
        if method.name == "basic.return":
            return None
        channel, message = self._channel(method.channel), Message(method, header, body)
        queue, no_ack = self._source(channel, method)
        route = f"deliver queue={queue}"
        facts = {**_facts(method), "queue": queue, "direction": "deliver"}
        plan, number = self._decide(route, facts, DELIVERING)
        self._decisions.note(self._number, route, number, plan.fault if plan else "", len(body))
        if plan is None:
            result = self._deliver(channel, message, no_ack)
        else:
            result = self._disturb(plan, channel, message, no_ack, conn)
        if channel.held and not (plan and plan.fault == "reordered-delivery"):
            conn.to_client(*(result or []))
            self._release(channel)
            return []
        return result

    def _disturb(
        self, plan: Plan, channel: Channel, message: Message, no_ack: bool, conn: AmqpConn
    ) -> list[Frame | bytes]:
        late = plan.options.get("delay", HOLD)
        if plan.fault == "duplicate-delivery":
            first = self._deliver(channel, message, no_ack)
            again = self._tag(channel, None, no_ack)
            return [*first, *message.frames(self._frame_max, delivery_tag=again, redelivered=True)]
        if plan.fault == "lost-delivery":
            if not no_ack:
                tag = message.method.arguments["delivery_tag"]
                conn.to_broker(method("basic.ack", message.method.channel, delivery_tag=tag))
            channel.deliveries.disturbed = True
            return []
        if plan.fault in ("delayed-delivery", "reordered-delivery"):
            channel.deliveries.disturbed = True
            self._hold(plan.fault, late, channel, message, no_ack, conn)
            return []
        if plan.fault == "changed-body" and message.body:
            changed = message.body[:-1] + bytes([message.body[-1] ^ 1])
            return self._deliver(channel, Message(message.method, message.header, changed), no_ack)
        if plan.fault == "lost-ack" and not no_ack:
            channel.unacked.add(channel.deliveries.count + 1)
        if plan.fault == "cut-on-delivery":
            conn.reset()
            return []
        return self._deliver(channel, message, no_ack)

    def _hold(
        self, fault: str, late: float, channel: Channel, message: Message, no_ack: bool, conn: AmqpConn
    ) -> None:
        done: list[bool] = []

        def release() -> None:
            if not done:
                done.append(True)
                conn.to_client(*self._deliver(channel, message, no_ack))

        if fault == "reordered-delivery":
            channel.held.append(release)
        conn.after(late, release)

    @staticmethod
    def _release(channel: Channel) -> None:
        held, channel.held = channel.held, []
        for release in held:
            release()

    def _deliver(self, channel: Channel, message: Message, no_ack: bool) -> list[Frame | bytes]:
        tag = self._tag(channel, message.method.arguments["delivery_tag"], no_ack)
        return [*message.frames(self._frame_max, delivery_tag=tag)]

    @staticmethod
    def _tag(channel: Channel, far: int | None, no_ack: bool) -> int:
        tag = channel.deliveries.give(far)
        if no_ack:
            channel.deliveries.settle(tag, multiple=False)
        return tag

    def _settled(self, frame: Method) -> AmqpResult:
        channel = self._channel(frame.channel)
        multiple = bool(frame.arguments.get("multiple", False))
        if not channel.deliveries.disturbed and not channel.unacked:
            channel.deliveries.settle(frame.arguments["delivery_tag"], multiple)
            return None
        pairs = channel.deliveries.settle(frame.arguments["delivery_tag"], multiple)
        if not pairs and not (multiple and frame.arguments["delivery_tag"] == 0):
            return None  # an unknown number: the broker shall say what it thinks of it
        result: list[Frame | bytes] = []
        for near, far in pairs:
            if far is not None and near not in channel.unacked:
                single = {**frame.arguments, "delivery_tag": far, "multiple": False}
                single = {key: value for key, value in single.items() if key in frame.arguments}
                result.append(Method(frame.channel, frame.name, single))
            channel.unacked.discard(near)
        return result

    @staticmethod
    def _source(channel: Channel, method: Method) -> tuple[str, bool]:
        if method.name == "basic.get-ok":
            return channel.got.pop(0) if channel.got else ("", False)
        tag = method.arguments["consumer_tag"]
        return channel.queues.get(tag, ""), tag in channel.unsettled

    # -- publishes

    def message_from_client(self, method: Method, header: ContentHeader, body: bytes, conn: AmqpConn) -> AmqpResult:
        """Decide on a publish."""
        channel, message = self._channel(method.channel), Message(method, header, body)
        facts = {**_facts(method), "direction": "publish"}
        if not facts["exchange"]:
            facts["queue"] = facts["key"]  # the default exchange, section 3.1.3.1
        route = f"publish exchange={facts['exchange']} key={facts['key']}"
        plan, number = self._decide(route, facts, PUBLISHING)
        self._decisions.note(self._number, route, number, plan.fault if plan else "", len(body))
        channel.published += channel.confirming
        if plan is not None and plan.fault in ("lost-publish", "refused-publish"):
            return self._swallow(plan.fault, channel, method, conn)
        if channel.confirming:
            channel.publishes.give(channel.published)
        if plan is None:
            return None
        if plan.fault == "duplicate-publish":
            if channel.confirming:
                channel.publishes.give(None)
            return [*message.frames(self._frame_max), *message.frames(self._frame_max)]
        if plan.fault == "lost-confirm":
            channel.unconfirmed.add(channel.published)
        elif channel.confirming:
            channel.cuts.add(channel.published)
        else:
            conn.to_broker(*message.frames(self._frame_max))
            conn.reset()
            return []
        return None

    @staticmethod
    def _swallow(fault: str, channel: Channel, publish: Method, conn: AmqpConn) -> list[Frame | bytes]:
        channel.publishes.disturbed = True
        if channel.confirming:
            name = "basic.ack" if fault == "lost-publish" else "basic.nack"
            conn.to_client(method(name, publish.channel, delivery_tag=channel.published))
        return []

    def _confirmed(self, frame: Method, conn: AmqpConn) -> AmqpResult:
        channel = self._channel(frame.channel)
        pairs = channel.publishes.settle(frame.arguments["delivery_tag"], bool(frame.arguments["multiple"]))
        numbers = [far for _, far in pairs if far is not None]
        if channel.cuts.intersection(numbers):
            conn.reset()
            return []
        if not channel.publishes.disturbed and not channel.unconfirmed:
            return None
        told = [number for number in numbers if number not in channel.unconfirmed]
        channel.unconfirmed.difference_update(numbers)
        return [
            Method(frame.channel, frame.name, {**frame.arguments, "delivery_tag": number, "multiple": False})
            for number in told
        ]

    # -- both

    def _decide(self, route: str, facts: dict[str, str], names: frozenset[str]) -> tuple[Plan | None, int]:
        number = self._decisions.count(route)
        return self._decisions.choose(self._decisions.active(names), route, number, facts), number

    def _channel(self, number: int) -> Channel:
        return self._channels.setdefault(number, Channel())


def _facts(method: Method) -> dict[str, str]:
    return {"exchange": method.arguments["exchange"], "key": method.arguments["routing_key"]}

