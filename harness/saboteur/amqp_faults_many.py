"""Faults of AMQP brokers that a few messages, frames or bindings do not show."""

from typing import Any

from mqproof.dissectors.amqp.codec import Method, content, method
from mqproof.harness.saboteur.amqp_faults import changed, is_method
from mqproof.harness.saboteur.core import AmqpConn, AmqpContentFault, AmqpFault, AmqpResult, fault

FEW = 32  # what these brokers cope with
TESTS = range(1, 1024)  # channels of tests; what they publish with a confirm goes over higher ones


class _NarrowRange(AmqpFault):
    settles: str

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, self.settles) or not frame.arguments["multiple"]:
            return None
        last = conn.memory.get(frame.channel, 0)
        tag = frame.arguments["delivery_tag"]
        conn.memory[frame.channel] = tag
        return [changed(frame, delivery_tag=last + FEW)] if tag > last + FEW else None


@fault("wide-acks-cut", "amqp-0-9-1:basic/10", says="an ack with multiple settles 32 messages at most")
class WideAcksCut(_NarrowRange):
    settles = "basic.ack"


@fault("wide-nacks-cut", "amqp-0-9-1:negative-acks/02", says="a nack with multiple settles 32 messages at most")
class WideNacksCut(_NarrowRange):
    settles = "basic.nack"


@fault("return-100-at-most", "amqp-0-9-1:4.5/unacked-redelivered", says="100 messages come back to a queue at most")
class Return100AtMost(AmqpContentFault):
    def message_from_broker(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        if method.name != "basic.deliver" or not method.arguments["redelivered"]:
            return None
        conn.memory["back"] = conn.memory.get("back", 0) + 1
        return [] if conn.memory["back"] > 100 else None


@fault(
    "long-bodies-blanked", "amqp-0-9-1:4.2.6.2/split-body", "amqp-0-9-1:3.1.1/body-unmodified",
    says="what comes after the first 512 KiB of a body is blank",
)  # fmt: skip
class LongBodiesBlanked(AmqpContentFault):
    def message_from_broker(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        kept = body[: 1 << 19]
        if kept == body:
            return None
        blank = kept.ljust(len(body))
        given = {"properties": header.properties, "frame_max": 8192, **method.arguments}
        return content(method.name, method.channel, body=blank, **given)


@fault(
    "fanout-16-at-most", "amqp-0-9-1:3.1.3.2/match", says="of the queues bound to an exchange the first 16 count"
)
class Fanout16AtMost(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "queue.bind") or frame.arguments["no_wait"]:
            return None
        queues = conn.memory.setdefault(frame.arguments["exchange"], set())
        queues.add(frame.arguments["queue"])
        if len(queues) <= 16:
            return None
        conn.to_client(method("queue.bind-ok", frame.channel))
        return []


@fault("bindings-64-at-most", "amqp-0-9-1:3.1.3.1/match", says="of a queue's bindings the first 64 count")
class Bindings64AtMost(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "queue.bind") or not frame.arguments["no_wait"]:
            return None
        conn.memory["bindings"] = conn.memory.get("bindings", 0) + 1
        return [] if conn.memory["bindings"] > 64 else None


class _Publishes(AmqpContentFault):
    def message_from_client(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        return [] if self.lost(method, conn.memory) else None

    def lost(self, method: Method, memory: dict[Any, Any]) -> bool:
        return False


@fault(
    "channels-above-32-mute", "amqp-0-9-1:4.3/many-channels", "amqp-0-9-1:4.2.6.2/split-body",
    says="what is published on channels above 32 is lost",
)  # fmt: skip
class ChannelsAbove32Mute(_Publishes):
    def lost(self, method: Method, memory: dict[Any, Any]) -> bool:
        return FEW < method.channel in TESTS


@fault("commit-of-100-at-most", "amqp-0-9-1:tx.commit/transacted", says="a transaction holds 100 messages at most")
class CommitOf100AtMost(_Publishes):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "tx.select", "tx.commit"):
            conn.memory[frame.channel] = 0
        return super().from_client(frame, conn)

    def lost(self, method: Method, memory: dict[Any, Any]) -> bool:
        if method.channel in memory:
            memory[method.channel] += 1
        return bool(memory.get(method.channel, 0) > 100)
