"""Faults of AMQP brokers: closing and opening channels, flow, fairness, visibility."""

from typing import Any

from mqproof.dissectors.amqp.codec import Body, Method, method
from mqproof.harness.saboteur.amqp_faults import changed, is_method, whole
from mqproof.harness.saboteur.core import AmqpConn, AmqpContentFault, AmqpFault, AmqpResult, fault

HANDSHAKE = "amqp-0-9-1:2.3.7/close-handshake"
DISCARD = "amqp-0-9-1:2.3.7/discard-until-close-ok"
CHANNEL = "amqp-0-9-1:channel.close/stability"
CONNECTION = "amqp-0-9-1:connection.close/stability"
EFFECTS = "amqp-0-9-1:4.6/synchronous-effects"


@fault("close-unanswered", HANDSHAKE, CHANNEL, DISCARD, CONNECTION, says="close is not answered by close-ok")
class CloseUnanswered(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [] if is_method(frame, "channel.close-ok", "connection.close-ok") else None


@fault("closed-for-good", HANDSHAKE, CHANNEL, DISCARD, says="a channel that was closed cannot be opened again")
class ClosedForGood(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "channel.close", "channel.close-ok"):
            conn.memory[frame.channel] = True
        if is_method(frame, "channel.open") and frame.channel in conn.memory:
            return []
        return None


@fault("answers-after-close", CHANNEL, DISCARD, says="methods that follow a channel exception still count")
class AnswersAfterClose(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "channel.close") and frame.channel == 2:
            conn.to_broker(method("channel.close-ok", 2), method("channel.open", 2))
            conn.memory["closed"] = True
        if is_method(frame, "channel.open-ok") and conn.memory.pop("closed", False):
            conn.memory["reopened"] = True
            return []
        return None

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [] if is_method(frame, "channel.close-ok") and frame.channel == 2 else None


@fault("publishes-after-close", CONNECTION, DISCARD, says="a message after a connection exception is still routed")
class PublishesAfterClose(AmqpContentFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        conn.memory["closed"] = conn.memory.get("closed") or is_method(frame, "connection.close")
        return super().from_broker(frame, conn)

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "exchange.declare") and frame.arguments["type"] == "mqproof-no-such-type":
            conn.to_client(method("connection.close", 0, reply_code=503, reply_text="sabotaged"))
            return []
        if is_method(frame, "connection.close-ok"):
            conn.after(0.05, conn.close)
            return []
        return super().from_client(frame, conn)


@fault("delivers-after-close", CHANNEL, says="a delivery follows close-ok")
class DeliversAfterClose(AmqpContentFault):
    def message_from_broker(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        if method.name == "basic.deliver" and method.channel == 2:
            conn.memory["held"] = whole(method, header, body)
        return None

    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "channel.close-ok") and "held" in conn.memory:
            conn.after(0.0, lambda: conn.to_client(*conn.memory["held"]))
            conn.memory["late"] = True
        if is_method(frame, "exchange.declare-ok") and conn.memory.pop("late", False):
            return [*conn.memory["held"], frame]
        return super().from_broker(frame, conn)


@fault(
    "one-error-closes-all",
    "amqp-0-9-1:4.8.1/channel-exception",
    "amqp-0-9-1:4.3/many-channels",
    says="an operational error closes the connection",
)
class OneErrorClosesAll(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "channel.close") and frame.arguments["reply_code"] != 504:
            return [Method(0, "connection.close", {**frame.arguments, "reply_code": 320})]
        return None


@fault(
    "errors-close-channels-only",
    "amqp-0-9-1:4.8.1/connection-exception",
    says="a structural error closes one channel only",
)
class ErrorsCloseChannelsOnly(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [Method(2, "channel.close", frame.arguments)] if is_method(frame, "connection.close") else None


@fault("close-names-nobody", "amqp-0-9-1:4.8.1/channel-exception", HANDSHAKE, says="close does not say what failed")
class CloseNamesNobody(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, class_id=0, method_id=0)] if is_method(frame, "channel.close") else None


@fault(
    "flow-unanswered",
    "amqp-0-9-1:channel.flow/initial-state",
    "amqp-0-9-1:channel.flow/throttling",
    "amqp-0-9-1:channel.flow/bidirectional",
    says="channel.flow is not answered",
)
class FlowUnanswered(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [] if is_method(frame, "channel.flow-ok") else None


@fault("channels-begin-paused", "amqp-0-9-1:channel.flow/initial-state", says="a new channel delivers nothing")
class ChannelsBeginPaused(AmqpContentFault):
    def message_from_broker(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        return [] if method.name == "basic.deliver" and method.channel == 6 else None


@fault(
    "channels-share-tags",
    "amqp-0-9-1:domain.delivery-tag/channel-local",
    says="delivery tags count the connection's deliveries",
)
class ChannelsShareTags(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.deliver"):
            conn.memory["count"] = conn.memory.get("count", 0) + 1
            return [changed(frame, delivery_tag=conn.memory["count"])]
        return None


@fault(
    "channels-not-interleaved",
    "amqp-0-9-1:4.3/many-channels",
    "amqp-0-9-1:4.2.6.2/split-body",
    says="a content ends when a frame of another channel comes between",
)
class ChannelsNotInterleaved(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if isinstance(frame, Body):
            conn.memory["body"] = frame.channel
        elif is_method(frame, "exchange.declare") and "body" in conn.memory:
            conn.memory["broken"] = frame.channel == 2
        if isinstance(frame, Body) and conn.memory.get("broken"):
            return [Body(frame.channel, b"?" * len(frame.payload))]
        return None


@fault("second-channel-starves", "amqp-0-9-1:4.3/fair", says="one channel is not served while another is busy")
class SecondChannelStarves(AmqpContentFault):
    def message_from_broker(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        count = conn.memory[method.channel] = conn.memory.get(method.channel, 0) + 1
        return [] if method.name == "basic.deliver" and method.channel == 2 and count > 3 else None


@fault(
    "others-see-old-counts",
    "amqp-0-9-1:4.4/visibility",
    "amqp-0-9-1:queue.declare.passive/passive",
    says="a passive declare tells counts of zero",
)
class OthersSeeOldCounts(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        conn.memory["passive"] = is_method(frame, "queue.declare") and frame.arguments["passive"]
        return None

    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "queue.declare-ok") and conn.memory.get("passive"):
            return [changed(frame, message_count=0, consumer_count=0)]
        return None


@fault("delivers-before-consume-ok", EFFECTS, says="the first delivery comes before consume-ok")
class DeliversBeforeConsumeOk(AmqpContentFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.consume-ok"):
            conn.memory["held"] = frame
            conn.after(0.05, lambda: self._release(conn))
            return []
        return super().from_broker(frame, conn)

    def message_from_broker(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        held = conn.memory.pop("held", None)
        return [*whole(method, header, body), held] if held else None

    def _release(self, conn: AmqpConn) -> None:
        held = conn.memory.pop("held", None)
        if held:
            conn.to_client(held)


@fault("nowait-answered", EFFECTS, says="methods with no-wait are answered all the same")
class NowaitAnswered(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "queue.declare", "basic.consume") and frame.arguments["no_wait"]:
            return [changed(frame, no_wait=False)]
        return None


@fault("cancel-later", "amqp-0-9-1:3.1.6/cancel-stops", EFFECTS, says="cancel is answered and not done")
class CancelLater(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "basic.cancel"):
            return None
        conn.to_client(method("basic.cancel-ok", frame.channel, consumer_tag=frame.arguments["consumer_tag"]))
        return []


@fault(
    "cancel-forgets-deliveries",
    "amqp-0-9-1:3.1.6/cancel-stops",
    says="what was delivered before cancel cannot be acknowledged after it",
)
class CancelForgetsDeliveries(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.cancel"):
            conn.memory[frame.channel] = True
        if is_method(frame, "basic.ack") and frame.channel in conn.memory:
            return [changed(frame, delivery_tag=9999)]
        return None


@fault("bind-later", EFFECTS, says="bind is answered before it is done, and forgotten")
class BindLater(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "queue.bind") or frame.arguments["routing_key"] not in ("key", "stays"):
            return None
        conn.to_client(method("queue.bind-ok", frame.channel))
        return []


@fault("purge-later", EFFECTS, says="purge is answered before it is done")
class PurgeLater(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "queue.purge"):
            return None
        conn.to_client(method("queue.purge-ok", frame.channel, message_count=5))
        return []


@fault("get-counts-wrong", EFFECTS, says="get-ok tells one message too many, and get-empty comes as get-ok's count")
class GetCountsWrong(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.get-ok"):
            return [changed(frame, message_count=frame.arguments["message_count"] + 1)]
        return None


@fault("get-empty-unanswered", EFFECTS, says="a get from an empty queue is not answered")
class GetEmptyUnanswered(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [] if is_method(frame, "basic.get-empty") else None


@fault("consumer-tags-equal", EFFECTS, says="consumers without a tag all get the same one")
class ConsumerTagsEqual(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.consume-ok") and frame.arguments["consumer_tag"].startswith("amq."):
            return [changed(frame, consumer_tag="amq.ctag")]
        return None
