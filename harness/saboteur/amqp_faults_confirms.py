"""Faults of AMQP brokers: publisher confirms and returned messages."""

from typing import Any

from mqproof.harness.saboteur.amqp_faults import changed, is_method, whole
from mqproof.harness.saboteur.core import AmqpConn, AmqpContentFault, AmqpFault, AmqpResult, fault

CONFIRM = "amqp-0-9-1:publisher-confirms/"
TESTS = 1  # the channel that tests confirm on; their topology and other publishes go over others
EVERY = "amqp-0-9-1:confirm/all-messages-acknowledged"


@fault("select-unanswered", f"{CONFIRM}01", says="confirm.select is not answered")
class SelectUnanswered(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [] if is_method(frame, "confirm.select-ok") and frame.channel == TESTS else None


@fault("select-nowait-answered", f"{CONFIRM}01", says="confirm.select is answered although nowait was set")
class SelectNowaitAnswered(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, nowait=False)] if is_method(frame, "confirm.select") else None


@fault("confirms-from-zero", f"{CONFIRM}02", EVERY, says="the first publish is confirmed as number 0")
class ConfirmsFromZero(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.ack") and frame.channel == TESTS:
            return [changed(frame, delivery_tag=frame.arguments["delivery_tag"] - 1)]
        return None


@fault("confirm-lost", EVERY, f"{CONFIRM}03", says="the broker forgets the confirm of the hundredth publish")
class ConfirmLost(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.ack") and frame.channel == TESTS and frame.arguments["delivery_tag"] == 100:
            return [changed(frame, delivery_tag=99)] if frame.arguments["multiple"] else []
        return None


@fault("confirm-twice", EVERY, f"{CONFIRM}03", f"{CONFIRM}08", says="the broker confirms twice")
class ConfirmTwice(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [frame, frame] if is_method(frame, "basic.ack") and frame.channel == TESTS else None


@fault("confirms-count-connections", f"{CONFIRM}02", says="the numbers go on from channel to channel")
class ConfirmsCountConnections(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.ack"):
            return [changed(frame, delivery_tag=frame.arguments["delivery_tag"] + 2 * (frame.channel == 2))]
        return None


@fault("confirms-count-before-select", f"{CONFIRM}02", says="publishes before confirm.select are counted, too")
class ConfirmsCountBeforeSelect(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "confirm.select"):
            conn.memory[frame.channel, "selected"] = True
        elif is_method(frame, "basic.publish") and (frame.channel, "selected") not in conn.memory:
            conn.memory[frame.channel] = conn.memory.get(frame.channel, 0) + 1
        return None

    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.ack"):
            return [changed(frame, delivery_tag=frame.arguments["delivery_tag"] + conn.memory.get(frame.channel, 0))]
        return None


@fault("confirms-restart", f"{CONFIRM}07", says="a second confirm.select begins the numbers anew")
class ConfirmsRestart(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "confirm.select") and frame.channel == TESTS:
            conn.memory["selects"] = conn.memory.get("selects", 0) + 1
        return None

    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.ack") and conn.memory.get("selects", 0) > 1:
            return [changed(frame, delivery_tag=1)]
        return None


@fault("unroutable-nacked", f"{CONFIRM}04", says="what cannot be routed is refused with basic.nack")
class UnroutableNacked(AmqpContentFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.publish") and frame.channel == TESTS:
            return [changed(frame, mandatory=True)]
        return None

    def message_from_broker(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        conn.memory["returned"] = method.name == "basic.return"
        return [] if conn.memory["returned"] else None

    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.ack") and conn.memory.pop("returned", False):
            return [type(frame)(frame.channel, "basic.nack", {**frame.arguments, "requeue": False})]
        return super().from_broker(frame, conn)


@fault(
    "return-after-ack",
    "amqp-0-9-1:confirm/unroutable-messages",
    f"{CONFIRM}05",
    says="basic.return follows the confirm in place of going before it",
)
class ReturnAfterAck(AmqpContentFault):
    def message_from_broker(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        if method.name != "basic.return" or method.channel != TESTS:
            return None
        conn.memory["held"] = whole(method, header, body)
        return []

    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.ack") and "held" in conn.memory:
            return [frame, *conn.memory.pop("held")]
        return super().from_broker(frame, conn)


@fault("mandatory-ignored", "amqp-0-9-1:basic.publish.mandatory/01", f"{CONFIRM}05", says="mandatory has no effect")
class MandatoryIgnored(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, mandatory=False)] if is_method(frame, "basic.publish") else None


@fault(
    "mandatory-always-returned",
    f"{CONFIRM}05",
    "amqp-0-9-1:basic.publish.mandatory/01",
    says="a mandatory message is returned although it was routed",
)
class MandatoryAlwaysReturned(AmqpContentFault):
    def message_from_client(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        if not method.arguments["mandatory"]:
            return None
        publish = {key: method.arguments[key] for key in ("exchange", "routing_key")}
        given = {**publish, "reply_code": 312, "reply_text": "NO_ROUTE"}
        conn.to_client(*whole(type(method)(method.channel, "basic.return", given), header, body))
        return None


@fault("modes-mixed", f"{CONFIRM}06", says="one channel may be transactional and confirming at once")
class ModesMixed(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "tx.select", "confirm.select"):
            return None
        if conn.memory.setdefault(frame.channel, frame.name) == frame.name:
            return None
        conn.to_client(type(frame)(frame.channel, f"{frame.name}-ok", {}))
        return []


@fault(
    "confirmed-and-dropped",
    "amqp-0-9-1:confirm/all-queues",
    f"{CONFIRM}08",
    says="a message is confirmed and reaches no queue",
)
class ConfirmedAndDropped(AmqpContentFault):
    def message_from_client(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        if method.channel != TESTS or not method.arguments["exchange"]:
            return None
        return whole(method, header, body, exchange="amq.direct", routing_key="mqproof-nowhere")


@fault("confirm-overreaches", EVERY, f"{CONFIRM}03", says="a confirm covers the message after the last one, too")
class ConfirmOverreaches(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.ack") and frame.channel == TESTS:
            return [changed(frame, delivery_tag=frame.arguments["delivery_tag"] + 1, multiple=True)]
        return None


@fault("confirm-early", "amqp-0-9-1:confirm/all-queues", says="a message is confirmed before any queue has it")
class ConfirmEarly(AmqpContentFault):
    def message_from_client(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        if method.channel != TESTS or "selected" not in conn.memory:
            return None
        tag = conn.memory["confirmed"] = conn.memory.get("confirmed", 0) + 1
        conn.to_client(type(method)(TESTS, "basic.ack", {"delivery_tag": tag, "multiple": False}))
        conn.after(0.5, lambda: conn.to_broker(*whole(method, header, body)))
        return []

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "confirm.select") and frame.channel == TESTS:
            conn.memory["selected"] = True
        return super().from_client(frame, conn)

    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [] if is_method(frame, "basic.ack") and "confirmed" in conn.memory else None


@fault("refusal-confirmed", "amqp-0-9-1:length-limit/03", says="a message that a full queue rejects is confirmed")
class RefusalConfirmed(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "basic.nack"):
            return None
        given = {key: frame.arguments[key] for key in ("delivery_tag", "multiple")}
        return [type(frame)(frame.channel, "basic.ack", given)]


@fault("refusal-unsaid", "amqp-0-9-1:length-limit/03", says="nothing is said of a message that a full queue rejects")
class RefusalUnsaid(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [] if is_method(frame, "basic.nack") else None
