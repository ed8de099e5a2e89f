"""Faults of AMQP brokers: publishing, consuming, recovering, transactions."""

from typing import Any

from mqproof.dissectors.amqp.codec import ContentHeader, Method, method
from mqproof.harness.saboteur.amqp_faults import changed, is_method, whole
from mqproof.harness.saboteur.amqp_faults_connection import FORCED, refusal
from mqproof.harness.saboteur.core import AmqpConn, AmqpContentFault, AmqpFault, AmqpResult, fault

CONSUME = "amqp-0-9-1:basic.consume"


class _RefusesConsume(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "basic.consume") or not self.wrong(frame, conn.memory):
            return None
        conn.to_client(FORCED)
        return []

    def wrong(self, frame: Method, memory: dict[Any, Any]) -> bool:
        return False


@fault("fifteen-consumers", f"{CONSUME}/01", says="the sixteenth consumer of a queue is refused")
class FifteenConsumers(_RefusesConsume):
    def wrong(self, frame: Method, memory: dict[Any, Any]) -> bool:
        memory["count"] = memory.get("count", 0) + 1
        return bool(memory["count"] > 15)


@fault("tags-once-only", f"{CONSUME}.consumer-tag/01", says="a consumer tag cannot be used again after cancel")
class TagsOnceOnly(_RefusesConsume):
    def wrong(self, frame: Method, memory: dict[Any, Any]) -> bool:
        key = frame.channel, frame.arguments["consumer_tag"]
        memory[key] = memory.get(key, 0) + 1
        return bool(memory[key] > 1)


@fault("tags-per-connection", f"{CONSUME}.consumer-tag/02", says="a consumer tag works on one channel only")
class TagsPerConnection(_RefusesConsume):
    def wrong(self, frame: Method, memory: dict[Any, Any]) -> bool:
        return bool(memory.setdefault(frame.arguments["consumer_tag"], frame.channel) != frame.channel)


@fault("cancel-reaches-others", f"{CONSUME}.consumer-tag/02", says="cancel stops consumers of other connections")
class CancelReachesOthers(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.consume"):
            self.memory[frame.arguments["consumer_tag"]] = conn, frame.channel
        if is_method(frame, "basic.cancel"):
            owner, channel = self.memory.get(frame.arguments["consumer_tag"], (conn, 0))
            if owner is not conn:
                owner.to_broker(method("basic.cancel", channel, **changed(frame, no_wait=True).arguments))
        return None


@fault("exclusive-once-shared", f"{CONSUME}.exclusive/01", says="a queue that was shared once stays shared")
class ExclusiveOnceShared(_RefusesConsume):
    def wrong(self, frame: Method, memory: dict[Any, Any]) -> bool:
        was_shared = frame.arguments["queue"] in memory
        memory[frame.arguments["queue"]] = True
        return bool(was_shared and frame.arguments["exclusive"])


@fault(
    "later-consumers-starve",
    "amqp-0-9-1:3.1.4/one-client",
    "amqp-0-9-1:single-active-consumer/02",
    says="only the first of several consumers is ever served",
)
class LaterConsumersStarve(AmqpContentFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.consume"):
            self.memory.setdefault(frame.arguments["queue"], conn)
            conn.memory["queue"] = frame.arguments["queue"]
        return None

    def message_from_broker(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        is_first = self.memory.get(conn.memory.get("queue"), conn) is conn
        return None if is_first or method.name != "basic.deliver" else []


@fault(
    "refusals-of-large-messages-refused",
    "amqp-0-9-1:basic.reject/01",
    "amqp-0-9-1:basic.nack/01",
    says="refusing a message while others are on their way closes the channel",
)
class RefusalsOfLargeMessagesRefused(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "basic.reject", "basic.nack"):
            return None
        conn.to_client(refusal(frame))
        return []


@fault("fanout-refuses-content", "amqp-0-9-1:basic.publish.exchange/03", says="amq.fanout refuses content with 406")
class FanoutRefusesContent(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.publish") and frame.arguments["exchange"] == "amq.fanout":
            conn.to_client(refusal(frame))
        return None


@fault("immediate-ignored", "amqp-0-9-1:basic.publish.immediate/01", says="immediate has no effect")
class ImmediateIgnored(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, immediate=False)] if is_method(frame, "basic.publish") else None


@fault("immediate-drops", "amqp-0-9-1:basic.publish.immediate/01", says="immediate messages reach nobody")
class ImmediateDrops(AmqpContentFault):
    def message_from_client(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        return [] if method.arguments["immediate"] else None


@fault("backlog-thinned", "amqp-0-9-1:basic/02", says="of a long backlog one persistent message is dropped")
class BacklogThinned(AmqpContentFault):
    def message_from_client(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        conn.memory["count"] = conn.memory.get("count", 0) + 1
        return [] if conn.memory["count"] == 400 else None


@fault("user-id-refused", "amqp-0-9-1:validated-user-id/01", says="any user-id is refused")
class UserIdRefused(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if isinstance(frame, ContentHeader) and "user_id" in frame.properties:
            conn.to_client(refusal(frame))
        return None


@fault("recover-reaches-others", "amqp-0-9-1:basic.recover/01", says="recover concerns all channels")
class RecoverReachesOthers(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.recover") and frame.channel == 2:
            return [method("basic.recover-async", 1, requeue=True), frame]
        return None


@fault("second-select-refused", "amqp-0-9-1:tx.commit/transacted", says="a second tx.select is refused")
class SecondSelectRefused(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "tx.select") or conn.memory.setdefault(frame.channel, frame) is frame:
            return None
        conn.to_client(refusal(frame))
        return []


@fault("plain-text-changed", "amqp-0-9-1:3.1.1/body-unmodified", says="bodies of type text/plain end in a line feed")
class PlainTextChanged(AmqpContentFault):
    def message_from_broker(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        if header.properties.get("content_type") != "text/plain":
            return None
        return whole(method, header, body + b"\n")


@fault(
    "ack-settles-others",
    "amqp-0-9-1:3.1.8/explicit-ack",
    "amqp-0-9-1:basic/10",
    says="an ack settles all earlier deliveries, too",
)
class AckSettlesOthers(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, multiple=True)] if is_method(frame, "basic.ack") else None
