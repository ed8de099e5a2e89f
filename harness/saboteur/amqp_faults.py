"""Faults of AMQP brokers, first part: routing, acknowledgements, prefetch.

Each is as small as a bug in a broker could be, and breaks the statements that it names and nothing else. ``defect``
stands for a bug that only the embedded broker can show, because no rewriting of frames on the way can express it.
"""

from dataclasses import replace
from typing import Any

from mqproof.dissectors.amqp.codec import ContentHeader, Method, content
from mqproof.harness.saboteur.core import AmqpConn, AmqpContentFault, AmqpFault, AmqpResult, defect, fault

ACK = "amqp-0-9-1:3.1.8/explicit-ack"
SETTLING = ("basic.ack", "basic.reject", "basic.nack")
DELIVERING = ("basic.deliver", "basic.get-ok")


def is_method(frame: object, *names: str) -> bool:
    """Whether ``frame`` is one of these methods."""
    return isinstance(frame, Method) and frame.name in names


def changed(frame: Any, **arguments: Any) -> Method:
    """Return the method with some arguments replaced."""
    return Method(frame.channel, frame.name, {**frame.arguments, **arguments})


def whole(method: Method, header: ContentHeader, body: bytes, **arguments: Any) -> list[Any]:
    """Return the frames of a message with some of its method's arguments replaced."""
    given = {**method.arguments, **arguments}
    return content(method.name, method.channel, body=body, properties=header.properties, **given)


# -- routing (section 3.1.3) ---------------------------------------------------------------------------------------

_DEFECTS = {
    "direct-prefix": ("a direct exchange matches beginnings", "3.1.3.1/match"),
    "direct-all": (
        "a direct exchange routes to every binding",
        "3.1.3.1/match",
        "queue.bind.routing-key/direct-exchange-key-matching",
    ),
    "fanout-first-only": ("a fanout exchange serves one binding", "3.1.3.2/match", "confirm/all-queues"),
    "fanout-by-key": ("a fanout exchange compares keys", "3.1.3.2/match", "3.1.3.2/amq.fanout"),
    "topic-star-any": ("* matches zero words, too", "3.1.3.3/words"),
    "topic-star-many": ("* matches several words, too", "3.1.3.3/words"),
    "topic-hash-one": ("# needs a word", "3.1.3.3/words", "topic-zero-words/01"),
    "topic-hash-literal": ("# is an ordinary word", "3.1.3.3/words"),
    "topic-case-blind": ("topic patterns ignore case", "3.1.3.3/words"),
    "headers-any-as-all": ("x-match any is read as all", "3.1.3.4/any"),
    "headers-all-as-any": ("x-match all is read as any", "3.1.3.4/all"),
    "headers-void-exact": ("a void argument asks for a void header", "3.1.3.4/presence", "headers-x-match/02"),
    "headers-x-counts": ("arguments with x- take part in matching", "3.1.3.4/x-ignored", "headers-x-match/01"),
    "headers-by-key": ("a headers exchange compares keys, too", "3.1.3.4/key-unused"),
    "requeue-lost": ("messages that should come back are forgotten", "4.5/unacked-redelivered", "basic/10"),
    "requeue-at-tail": ("what comes back goes to the end of the queue", "4.7/order"),
    "fifo-reversed": ("the newest message is handed out first", "3.1.4/fifo-one-consumer", "4.7/order", "basic/08"),
}
for _name, (_says, *_ids) in _DEFECTS.items():
    defect(_name, *(f"amqp-0-9-1:{name}" for name in _ids), says=_says, protocol="amqp")


class _MissingExchange(AmqpFault):
    exchange = ""

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "exchange.declare") and frame.arguments["exchange"] == self.exchange:
            return [changed(frame, exchange="mqproof-no-such-exchange")]
        return None


@fault(
    "amq-topic-missing",
    "amqp-0-9-1:3.1.3.3/amq.topic",
    "amqp-0-9-1:exchange/required-instances",
    says="amq.topic is not predeclared",
)
class AmqTopicMissing(_MissingExchange):
    exchange = "amq.topic"


@fault("amq-fanout-missing", "amqp-0-9-1:3.1.3.2/amq.fanout", says="amq.fanout is not predeclared")
class AmqFanoutMissing(_MissingExchange):
    exchange = "amq.fanout"


@fault("amq-match-missing", "amqp-0-9-1:3.1.3.4/amq.match", says="amq.match is not predeclared")
class AmqMatchMissing(_MissingExchange):
    exchange = "amq.match"


@fault("amq-direct-unrouted", "amqp-0-9-1:3.1.3.1/amq.direct", says="amq.direct routes to bindings of any key")
class AmqDirectUnrouted(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.publish") and frame.arguments["exchange"] == "amq.direct":
            return [changed(frame, routing_key=frame.arguments["routing_key"].removesuffix(".other"))]
        return None


class _TypeRefused(AmqpFault):
    type = ""

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "exchange.declare") and frame.arguments["type"] == self.type:
            return [changed(frame, type="no-such-type")]
        return None


@fault(
    "topic-not-offered",
    "amqp-0-9-1:3.1.3.3/offered",
    "amqp-0-9-1:exchange/recommended-types",
    says="there is no topic exchange type",
)
class TopicNotOffered(_TypeRefused):
    type = "topic"


@fault(
    "headers-not-offered",
    "amqp-0-9-1:3.1.3.4/offered",
    "amqp-0-9-1:exchange/recommended-types",
    says="there is no headers exchange type",
)
class HeadersNotOffered(_TypeRefused):
    type = "headers"


@fault(
    "headers-untyped",
    "amqp-0-9-1:3.1.3.4/all",
    says="header values are compared as text, so that 1 and '1' are equal",
)
class HeadersUntyped(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if isinstance(frame, ContentHeader) and frame.properties.get("headers", {}).get("number") == "1":
            headers = {**frame.properties["headers"], "number": 1}
            return [replace(frame, properties={**frame.properties, "headers": headers})]
        return None


class _EarlierQueue(AmqpFault):
    """Knows the queues that a connection has declared; tests that need one only are left alone."""

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        names = conn.memory.setdefault("queues", [])
        if is_method(frame, "queue.declare") and frame.arguments["queue"] not in names:
            names.append(frame.arguments["queue"])
        if not is_method(frame, "basic.publish") or frame.arguments["exchange"] or len(names) < 2:
            return None
        return self.publish(frame, names) if frame.arguments["routing_key"] == names[-2] else None

    def publish(self, frame: Method, names: list[str]) -> AmqpResult:
        return None


@fault(
    "default-binding-missing",
    "amqp-0-9-1:3.1.3.1/default-exchange",
    "amqp-0-9-1:queue.declare/default-binding",
    says="a queue is not bound to the default exchange",
)
class DefaultBindingMissing(_EarlierQueue):
    def publish(self, frame: Method, names: list[str]) -> AmqpResult:
        return [changed(frame, routing_key="mqproof-nowhere")]


@fault(
    "default-exchange-astray",
    "amqp-0-9-1:basic.publish.exchange/default-exchange",
    "amqp-0-9-1:exchange/default-exchange",
    says="the default exchange routes to another queue than the one named",
)
class DefaultExchangeAstray(_EarlierQueue):
    def publish(self, frame: Method, names: list[str]) -> AmqpResult:
        return [changed(frame, routing_key=names[-1])]


# -- acknowledgements (sections 3.1.8 and 4.5) ---------------------------------------------------------------------


@fault(
    "acks-ignored",
    ACK,
    "amqp-0-9-1:basic/10",
    "amqp-0-9-1:3.1.7/prefetch",
    "amqp-0-9-1:basic.recover/01",
    "amqp-0-9-1:tx.commit/transacted",
    says="acknowledged messages come back all the same",
)
class AcksIgnored(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [] if is_method(frame, "basic.ack") else None


@fault("multiple-acks-ignored", "amqp-0-9-1:basic/10", says="an ack with multiple settles one message only")
class MultipleAcksIgnored(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "basic.ack") or not frame.arguments["multiple"]:
            return None
        return [changed(frame, multiple=False)] if frame.arguments["delivery_tag"] else []


@fault(
    "redelivered-unset",
    "amqp-0-9-1:domain.redelivered/implementation",
    "amqp-0-9-1:4.5/unacked-redelivered",
    "amqp-0-9-1:negative-acks/01",
    "amqp-0-9-1:basic.recover/01",
    "amqp-0-9-1:basic.recover-async/01",
    says="what comes back is not marked as redelivered",
)
class RedeliveredUnset(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, redelivered=False)] if is_method(frame, *DELIVERING) else None


@fault("redelivered-always", ACK, says="everything is marked as redelivered")
class RedeliveredAlways(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, redelivered=True)] if is_method(frame, *DELIVERING) else None


@fault(
    "no-ack-ignored",
    "amqp-0-9-1:3.1.8/auto-ack",
    "amqp-0-9-1:basic/09",
    "amqp-0-9-1:basic.qos.prefetch-count/01",
    says="a consumer with no-ack has to acknowledge all the same",
)
class NoAckIgnored(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, no_ack=False)] if is_method(frame, "basic.consume") else None


# -- refusing (basic.reject, basic.nack) ---------------------------------------------------------------------------


@fault("requeue-ignored", "amqp-0-9-1:negative-acks/01", says="refused messages do not come back")
class RequeueIgnored(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, requeue=False)] if is_method(frame, "basic.reject", "basic.nack") else None


@fault("requeue-always", "amqp-0-9-1:negative-acks/03", says="messages refused for good come back")
class RequeueAlways(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, requeue=True)] if is_method(frame, "basic.reject", "basic.nack") else None


@fault(
    "multiple-nacks-ignored",
    "amqp-0-9-1:negative-acks/02",
    "amqp-0-9-1:negative-acks/03",
    says="a nack with multiple settles one message only",
)
class MultipleNacksIgnored(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "basic.nack") or not frame.arguments["multiple"]:
            return None
        return [changed(frame, multiple=False)] if frame.arguments["delivery_tag"] else []


@fault(
    "refused-to-sender",
    "amqp-0-9-1:basic.reject.requeue/01",
    "amqp-0-9-1:basic.nack.requeue/01",
    "amqp-0-9-1:domain.redelivered/implementation",
    says="a refused message goes straight back to the client that refused it",
)
class RefusedToSender(AmqpContentFault):
    def message_from_broker(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        if method.name == "basic.deliver":
            conn.memory[method.channel, method.arguments["delivery_tag"]] = method, header, body
        return None

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "basic.reject", "basic.nack") or not frame.arguments["requeue"]:
            return None
        kept = conn.memory.get((frame.channel, frame.arguments["delivery_tag"]))
        if kept is None:
            return None
        conn.to_client(*whole(*kept, redelivered=True))
        return []


@fault(
    "unknown-tags-accepted",
    "amqp-0-9-1:basic.ack.multiple/exists",
    "amqp-0-9-1:basic.nack.multiple/exists",
    "amqp-0-9-1:negative-acks/04",
    "amqp-0-9-1:domain.delivery-tag/channel-local",
    says="tags that are unknown, settled, or another channel's are accepted",
)
class UnknownTagsAccepted(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, *DELIVERING):
            conn.memory[frame.channel, frame.arguments["delivery_tag"]] = True
        return None

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, *SETTLING) or frame.arguments.get("multiple"):
            return None
        return None if conn.memory.pop((frame.channel, frame.arguments["delivery_tag"]), False) else []


@fault("tags-from-zero", "amqp-0-9-1:domain.delivery-tag/non-zero", says="delivery tags begin with 0")
class TagsFromZero(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, *DELIVERING):
            return None
        return [changed(frame, delivery_tag=frame.arguments["delivery_tag"] - 1)]

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, *SETTLING):
            return None
        return [changed(frame, delivery_tag=frame.arguments["delivery_tag"] + 1)]


# -- prefetch (section 3.1.7) --------------------------------------------------------------------------------------


@fault(
    "prefetch-ignored",
    "amqp-0-9-1:3.1.7/prefetch",
    "amqp-0-9-1:basic.qos.prefetch-count/01",
    "amqp-0-9-1:per-consumer-qos/01",
    "amqp-0-9-1:per-consumer-qos/02",
    "amqp-0-9-1:per-consumer-qos/03",
    says="prefetch counts are not kept",
)
class PrefetchIgnored(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, prefetch_count=0)] if is_method(frame, "basic.qos") else None


@fault(
    "prefetch-one-more",
    "amqp-0-9-1:3.1.7/prefetch",
    "amqp-0-9-1:basic.qos.prefetch-count/01",
    says="one message more than the prefetch count is sent",
)
class PrefetchOneMore(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.qos") and (count := frame.arguments["prefetch_count"]):
            return [changed(frame, prefetch_count=count + 1)]
        return None


@fault("prefetch-one", "amqp-0-9-1:basic.qos.prefetch-count/01", says="a prefetch count of zero lets one through")
class PrefetchOne(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.qos") and frame.arguments["prefetch_count"] == 0:
            return [changed(frame, prefetch_count=1)]
        return None


@fault(
    "refusals-keep-the-window",
    "amqp-0-9-1:basic.qos.prefetch-count/01",
    "amqp-0-9-1:3.1.7/prefetch",
    says="a refused message still counts as unacknowledged",
)
class RefusalsKeepTheWindow(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [] if is_method(frame, "basic.reject", "basic.nack") else None


@fault("deliveries-swapped", "amqp-0-9-1:3.1.4/fifo-one-consumer", says="two messages change places on their way")
class DeliveriesSwapped(AmqpContentFault):
    def message_from_broker(self, method: Any, header: Any, body: bytes, conn: AmqpConn) -> AmqpResult:
        tag = method.arguments.get("delivery_tag")
        if method.name != "basic.deliver" or tag not in (6, 7):
            return None
        if tag == 6:
            conn.memory["held"] = whole(method, header, body)
            return []
        return [*whole(method, header, body), *conn.memory.pop("held", [])]
