"""Faults of AMQP brokers: extensions."""

from typing import Any

from mqproof.dissectors.amqp.codec import ContentHeader
from mqproof.harness.saboteur.amqp_faults import changed, is_method, whole
from mqproof.harness.saboteur.amqp_faults_connection import refusal
from mqproof.harness.saboteur.core import AmqpConn, AmqpContentFault, AmqpFault, AmqpResult, fault

NOTIFY = "amqp-0-9-1:consumer-cancel-notify/"


@fault("cancel-unsaid", f"{NOTIFY}01", says="a client is not told that its consumer was cancelled")
class CancelUnsaid(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [] if is_method(frame, "basic.cancel") else None


@fault("cancel-said-to-all", f"{NOTIFY}02", says="clients without the capability are told of cancelled consumers")
class CancelSaidToAll(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "connection.start-ok"):
            return None
        properties = dict(frame.arguments["client_properties"])
        properties["capabilities"] = {**properties.get("capabilities", {}), "consumer_cancel_notify": True}
        return [changed(frame, client_properties=properties)]


@fault("no-dead-letter-exchange-no-reject", "amqp-0-9-1:dead-letter/08", says="a missing dead-letter exchange is told")
class NoDeadLetterExchangeNoReject(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.reject"):
            conn.to_client(refusal(frame, 404))
        return None


@fault("limit-counts-unacked", "amqp-0-9-1:length-limit/05", says="unacknowledged messages count toward the limit")
class LimitCountsUnacked(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "queue.declare") and "x-max-length" in frame.arguments["arguments"]:
            return [changed(frame, arguments={**frame.arguments["arguments"], "x-max-length": 1})]
        return None


@fault("strategy-drops", "amqp-0-9-1:dlx-at-least-once/01", says="at-least-once dead-lettering drops messages")
class StrategyDrops(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "queue.declare") and "x-dead-letter-strategy" in frame.arguments["arguments"]:
            return [changed(frame, arguments={"x-queue-type": "quorum"})]
        return None


@fault("ttl-zero-always-drops", "amqp-0-9-1:message-ttl-queue/04", says="a TTL of zero drops what a consumer awaits")
class TtlZeroAlwaysDrops(AmqpContentFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "queue.declare") and frame.arguments["arguments"].get("x-message-ttl") == 0:
            conn.memory["zero"] = True
        return super().from_client(frame, conn)

    def message_from_broker(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        return [] if method.name == "basic.deliver" and "zero" in conn.memory else None


class _Property(AmqpFault):
    name = ""

    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not isinstance(frame, ContentHeader):
            return None
        properties = {name: value for name, value in frame.properties.items() if name != self.name}
        headers = {name: value for name, value in properties.get("headers", {}).items() if name != self.name}
        if "headers" in properties:
            properties["headers"] = headers
        return [ContentHeader(frame.channel, frame.class_id, frame.body_size, properties)]


@fault("deaths-listed-twice", "amqp-0-9-1:dead-letter/05", says="x-death has two rows for one queue and reason")
class DeathsListedTwice(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        headers = dict(frame.properties.get("headers") or {}) if isinstance(frame, ContentHeader) else {}
        if "x-death" not in headers:
            return None
        headers["x-death"] = [*headers["x-death"], *headers["x-death"]]
        return [ContentHeader(frame.channel, frame.class_id, frame.body_size, {**frame.properties, "headers": headers})]


@fault("expiration-removed", "amqp-0-9-1:message-ttl-message/01", says="the expiration is removed before its time")
class ExpirationRemoved(_Property):
    name = "expiration"


@fault("cc-removed", "amqp-0-9-1:sender-selected-cc/01", says="the header CC is removed")
class CcRemoved(_Property):
    name = "CC"


@fault("cc-copies", "amqp-0-9-1:sender-selected-cc/03", says="a key that CC repeats gives a second copy")
class CcCopies(AmqpContentFault):
    def message_from_client(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        copies = header.properties.get("headers", {}).get("CC", [])
        return whole(method, header, body) * 2 if method.arguments["routing_key"] in copies else None


@fault("missing-alternate-refused", "amqp-0-9-1:alternate-exchange/04", says="a missing alternate exchange is an error")
class MissingAlternateRefused(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "exchange.declare") and "alternate-exchange" in frame.arguments["arguments"]:
            conn.memory["alternate"] = True
        if is_method(frame, "basic.publish") and "alternate" in conn.memory:
            conn.to_client(refusal(frame, 404))
        return None


@fault(
    "secret-unanswered",
    "amqp-0-9-1:update-secret/01",
    "amqp-0-9-1:update-secret/02",
    says="update-secret is not answered",
)
class SecretUnanswered(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [] if is_method(frame, "connection.update-secret") else None


@fault(
    "queue-type-ignored",
    *(f"amqp-0-9-1:quorum-queue/0{number}" for number in (1, 2, 3, 4)),
    *(f"amqp-0-9-1:stream-queue/0{number}" for number in (1, 2, 3, 4)),
    says="every queue is a classic one, whatever x-queue-type says",
)
class QueueTypeIgnored(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "queue.declare"):
            return None
        kept = {name: value for name, value in frame.arguments["arguments"].items() if name != "x-queue-type"}
        return [changed(frame, arguments=kept)]


@fault(
    "consumer-timeout-unwatched",
    "amqp-0-9-1:consumer-timeout/01",
    says="a delivery may stay unacknowledged for ever",
)
class ConsumerTimeoutUnwatched(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "queue.declare"):
            return None
        kept = {name: value for name, value in frame.arguments["arguments"].items() if name != "x-consumer-timeout"}
        return [changed(frame, arguments=kept)]


@fault("expires-early", "amqp-0-9-1:queue-ttl/01", says="a queue expires after 250 ms, whatever was asked for")
class ExpiresEarly(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "queue.declare") and "x-expires" in frame.arguments["arguments"]:
            return [changed(frame, arguments={"x-expires": 250})]
        return None


@fault("failing-messages-vanish", "amqp-0-9-1:quorum-queue/03", says="a message that fails five times is lost")
class FailingMessagesVanish(AmqpContentFault):
    def message_from_broker(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        if method.name != "basic.deliver" or not method.arguments["redelivered"]:
            return None
        failures = self.memory["failures"] = self.memory.get("failures", 0) + 1
        return [] if failures > 5 else None


@fault("x-death-missing", "amqp-0-9-1:dead-letter/05", "amqp-0-9-1:dead-letter/01", says="dead letters have no x-death")
class XDeathMissing(_Property):
    name = "x-death"


TTL = ("amqp-0-9-1:message-ttl-queue/01", "amqp-0-9-1:message-ttl-message/01", "amqp-0-9-1:message-ttl-message/03")


class _Ttl(AmqpFault):
    """Changes what a queue and what a message say of their time to live."""

    def changed(self, milliseconds: int) -> int:
        """Return another time."""
        raise NotImplementedError

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "queue.declare"):
            arguments = frame.arguments["arguments"]
            ttl = arguments.get("x-message-ttl")
            if isinstance(ttl, int) and ttl > 0:
                return [changed(frame, arguments={**arguments, "x-message-ttl": self.changed(ttl)})]
        elif isinstance(frame, ContentHeader) and str(frame.properties.get("expiration", "")).isdecimal():
            expiration = str(self.changed(int(frame.properties["expiration"])))
            properties = {**frame.properties, "expiration": expiration}
            return [ContentHeader(frame.channel, frame.class_id, frame.body_size, properties)]
        return None


@fault("ttl-early", *TTL, says="messages expire after a tenth of their time")
class TtlEarly(_Ttl):
    def changed(self, milliseconds: int) -> int:
        return milliseconds // 10


@fault("ttl-late", *TTL, says="messages expire five seconds late")
class TtlLate(_Ttl):
    def changed(self, milliseconds: int) -> int:
        return milliseconds + 5000
