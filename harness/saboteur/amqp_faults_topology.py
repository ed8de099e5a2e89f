"""Faults of AMQP brokers: declaring, binding and deleting queues and exchanges."""

from typing import Any

from mqproof.dissectors.amqp.codec import Method, method
from mqproof.harness.saboteur.amqp_faults import changed, is_method
from mqproof.harness.saboteur.amqp_faults_connection import refusal
from mqproof.harness.saboteur.core import AmqpConn, AmqpFault, AmqpResult, fault

DECLARE = "amqp-0-9-1:queue.declare."
EXCHANGE = "amqp-0-9-1:exchange.declare."
STANDARD = ("direct", "fanout", "topic", "headers")


class _Refuses(AmqpFault):
    """Refuses what is legal, at the level of the channel."""

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not isinstance(frame, Method) or not self.wrong(frame, conn):
            return None
        conn.to_client(refusal(frame))
        return []

    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        return False


class _Pretends(AmqpFault):
    """Answers a method itself and keeps it from the broker."""

    name = ""

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, self.name) or not self.wrong(frame, conn):
            return None
        conn.to_client(method(f"{self.name}-ok", frame.channel))
        return []

    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        return True


def known(frame: Method, conn: AmqpConn, key: str) -> bool:
    """Whether this connection has declared that name before; passive declares do not count."""
    names = conn.memory.setdefault("names", {})
    name = frame.arguments[key]
    before = name in names
    if not frame.arguments["passive"]:
        names[name] = frame.arguments
    return before


# -- exchanges -------------------------------------------------------------------------------------------------------


@fault(
    "direct-not-offered",
    "amqp-0-9-1:exchange/required-types",
    says="there is no direct exchange type",
)
class DirectNotOffered(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        if not is_method(frame, "exchange.declare") or frame.arguments["exchange"].startswith("amq."):
            return False
        return bool(frame.arguments["type"] == "direct")


@fault(
    "any-type-accepted",
    "amqp-0-9-1:3.1.3/undeclared-types",
    "amqp-0-9-1:3.1.10/x-prefix",
    "amqp-0-9-1:exchange.declare.type/support",
    "amqp-0-9-1:4.8.1/connection-exception",
    says="exchanges of unknown types are declared",
)
class AnyTypeAccepted(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "exchange.declare") or frame.arguments["passive"]:
            return None
        return [frame if frame.arguments["type"] in STANDARD else changed(frame, type="direct")]


@fault("fifteen-exchanges", "amqp-0-9-1:exchange.declare/minimum", says="the sixteenth exchange is refused")
class FifteenExchanges(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        if not is_method(frame, "exchange.declare") or frame.arguments["passive"]:
            return False
        conn.memory["count"] = conn.memory.get("count", 0) + 1
        return bool(conn.memory["count"] > 15)


@fault(
    "reserved-names-locked",
    f"{EXCHANGE}exchange/reserved",
    f"{DECLARE}queue/reserved",
    says="reserved names may not even be declared passively",
)
class ReservedNamesLocked(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        if is_method(frame, "exchange.declare"):
            return bool(frame.arguments["exchange"] == "amq.fanout")
        return is_method(frame, "queue.declare") and frame.arguments["queue"].startswith("amq.gen")


@fault(
    "names-strict",
    f"{EXCHANGE}exchange/syntax",
    f"{DECLARE}queue/syntax",
    says="colons in names are refused",
)
class NamesStrict(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        return is_method(frame, "exchange.declare", "queue.declare") and any(
            ":" in str(frame.arguments.get(key)) for key in ("exchange", "queue")
        )


@fault(
    "passive-declare-creates",
    f"{EXCHANGE}passive/not-found",
    f"{DECLARE}passive/passive",
    says="a passive declare creates what is missing",
)
class PassiveDeclareCreates(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "queue.declare") and "absent" in frame.arguments["queue"]:
            return [changed(frame, passive=False, exclusive=True)]
        name = str(frame.arguments["exchange"]) if is_method(frame, "exchange.declare") else "amq."
        return [changed(frame, passive=False)] if not name.startswith("amq.") else None


@fault(
    "redeclare-refused",
    f"{EXCHANGE}passive/equivalent",
    f"{EXCHANGE}auto-delete/amq_exchange_25",
    f"{DECLARE}passive/equivalent",
    says="what exists cannot be declared again",
)
class RedeclareRefused(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        key = {"exchange.declare": "exchange", "queue.declare": "queue"}.get(frame.name)
        return key is not None and known(frame, conn, key) and not frame.arguments["passive"]


@fault(
    "redeclare-unchecked",
    f"{EXCHANGE}passive/equivalent",
    f"{EXCHANGE}type/typed",
    f"{DECLARE}passive/equivalent",
    says="what exists is not compared with what is declared",
)
class RedeclareUnchecked(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        key = {"exchange.declare": "exchange", "queue.declare": "queue"}.get(getattr(frame, "name", ""))
        if key is None or not known(frame, conn, key):
            return None
        return [changed(frame, passive=True)]


@fault(
    "no-transient-things",
    f"{EXCHANGE}durable/support",
    f"{DECLARE}durable/types",
    f"{DECLARE}exclusive/types",
    says="durable exchanges and durable queues are refused",
)
class NoTransientThings(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        return is_method(frame, "exchange.declare", "queue.declare") and bool(frame.arguments["durable"])


@fault(
    "auto-delete-at-once",
    f"{EXCHANGE}auto-delete/amq_exchange_02",
    says="an auto-delete exchange is gone before it is bound",
)
class AutoDeleteAtOnce(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        if is_method(frame, "exchange.declare") and frame.arguments["auto_delete"]:
            conn.memory["gone"] = frame.arguments["exchange"]
        return is_method(frame, "queue.bind") and frame.arguments["exchange"] == conn.memory.get("gone")


@fault(
    "auto-delete-never",
    "amqp-0-9-1:exchange-auto-delete/01",
    says="auto-delete exchanges stay",
)
class AutoDeleteNever(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, auto_delete=False)] if is_method(frame, "exchange.declare") else None


@fault(
    "exchange-delete-pretended",
    "amqp-0-9-1:exchange.delete.exchange/exists",
    "amqp-0-9-1:exchange-to-exchange/03",
    says="exchange.delete is answered and not done",
)
class ExchangeDeletePretended(_Pretends):
    name = "exchange.delete"

    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        return not frame.arguments["if_unused"]


@fault(
    "if-unused-refused",
    "amqp-0-9-1:exchange.delete.if-unused/in-use",
    "amqp-0-9-1:queue.delete.if-unused/in-use",
    "amqp-0-9-1:queue.delete.if-empty/not-empty",
    says="conditional deletes are refused even when their condition holds",
)
class IfUnusedRefused(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        return is_method(frame, "exchange.delete", "queue.delete") and bool(
            frame.arguments["if_unused"] or frame.arguments.get("if_empty")
        )


@fault(
    "conditions-ignored",
    "amqp-0-9-1:exchange.delete.if-unused/in-use",
    "amqp-0-9-1:queue.delete.if-unused/in-use",
    "amqp-0-9-1:queue.delete.if-empty/not-empty",
    says="if-unused and if-empty are not honoured",
)
class ConditionsIgnored(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "exchange.delete"):
            return [changed(frame, if_unused=False)]
        return [changed(frame, if_unused=False, if_empty=False)] if is_method(frame, "queue.delete") else None


@fault(
    "internal-ignored",
    "amqp-0-9-1:exchange-internal/01",
    "amqp-0-9-1:basic.publish.exchange/02",
    says="internal exchanges take publishes",
)
class InternalIgnored(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, internal=False)] if is_method(frame, "exchange.declare") else None


# -- exchange bindings -----------------------------------------------------------------------------------------------


@fault(
    "exchange-binding-refused",
    "amqp-0-9-1:exchange.bind/duplicates",
    "amqp-0-9-1:exchange.bind/cyclical",
    "amqp-0-9-1:exchange.bind.source/default-exchange",
    "amqp-0-9-1:exchange.bind.destination/default-exchange",
    says="repeated, cyclic and default exchange bindings are refused",
)
class ExchangeBindingRefused(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        if not is_method(frame, "exchange.bind"):
            return False
        pair = frame.arguments["source"], frame.arguments["destination"]
        links = conn.memory.setdefault("links", set())
        is_wrong = pair in links or pair[::-1] in links or "" in pair or pair[0] == pair[1]
        links.add(pair)
        return bool(is_wrong or len(links) > 3)


@fault(
    "exchange-binding-any-key",
    "amqp-0-9-1:exchange-to-exchange/01",
    says="a binding between exchanges matches every key",
)
class ExchangeBindingAnyKey(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        return [changed(frame, routing_key="other")] if is_method(frame, "exchange.bind") else None


@fault(
    "exchange-unbind-refused",
    "amqp-0-9-1:exchange.unbind.source/default-exchange",
    "amqp-0-9-1:exchange.unbind.destination/default-exchange",
    "amqp-0-9-1:queue.unbind.exchange/default-exchange",
    says="unbinding from the default exchange is refused",
)
class ExchangeUnbindRefused(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        names = [frame.arguments.get(key) for key in ("source", "destination", "exchange")]
        return is_method(frame, "exchange.unbind", "queue.unbind") and "" in names


# -- queues ----------------------------------------------------------------------------------------------------------


@fault("declare-ok-misnames", f"{DECLARE}exclusive/types", says="declare-ok names another queue")
class DeclareOkMisnames(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "queue.declare-ok"):
            return [changed(frame, queue=f"{frame.arguments['queue']}-x")]
        return None


@fault("generated-names-unbound", f"{DECLARE}queue/default-name", says="queues with generated names get nothing")
class GeneratedNamesUnbound(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "basic.publish") and frame.arguments["routing_key"].startswith("amq.gen"):
            return [changed(frame, routing_key="mqproof-nowhere")]
        return None


@fault(
    "unbind-pretended",
    "amqp-0-9-1:exchange.unbind/01",
    "amqp-0-9-1:queue.unbind/01",
    says="unbinding what is not bound is answered by ok",
)
class UnbindPretended(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "exchange.unbind", "queue.unbind"):
            return None
        conn.to_client(method(f"{frame.name}-ok", frame.channel))
        return []


@fault(
    "absent-things-refused",
    "amqp-0-9-1:idempotent-delete/01",
    "amqp-0-9-1:idempotent-unbind/01",
    says="deleting and unbinding what is missing is refused",
)
class AbsentThingsRefused(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        names = [str(value) for value in frame.arguments.values()]
        is_removal = is_method(frame, "exchange.delete", "queue.delete", "exchange.unbind", "queue.unbind")
        return is_removal and any("absent" in name for name in names)


@fault("first-binding-only", "amqp-0-9-1:3.1.3.1/match", says="of several bindings with one key the first one counts")
class FirstBindingOnly(_Pretends):
    name = "queue.bind"

    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        key = frame.arguments["exchange"], frame.arguments["routing_key"]
        bound = conn.memory.setdefault("bound", set())
        is_wrong = key in bound
        bound.add(key)
        return bool(is_wrong)


@fault("two-hundred-queues", "amqp-0-9-1:queue.declare/minimum-queues", says="the 201st queue is refused")
class TwoHundredQueues(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        if is_method(frame, "queue.declare"):
            conn.memory["count"] = conn.memory.get("count", 0) + 1
        return is_method(frame, "queue.declare") and conn.memory["count"] > 200


@fault(
    "one-generated-name",
    f"{DECLARE}queue/default-name",
    "amqp-0-9-1:server-named-queue/01",
    says="all queues without a name get the same one",
)
class OneGeneratedName(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "queue.declare-ok") and frame.arguments["queue"].startswith("amq."):
            return [changed(frame, queue="mqproof-generated")]
        return None


@fault(
    "counts-in-declare-wrong",
    f"{DECLARE}passive/passive",
    f"{DECLARE}passive/equivalent",
    says="declare-ok tells one message and one consumer too many",
)
class CountsInDeclareWrong(AmqpFault):
    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not is_method(frame, "queue.declare-ok"):
            return None
        names = conn.memory.setdefault("names", set())
        name = frame.arguments["queue"]
        if name not in names:
            names.add(name)
            return None
        counts = {key: frame.arguments[key] + 1 for key in ("message_count", "consumer_count")}
        return [changed(frame, **counts)]


@fault(
    "exclusive-to-the-channel",
    f"{DECLARE}exclusive/exclusive",
    f"{DECLARE}exclusive/types",
    says="an exclusive queue is locked to its channel",
)
class ExclusiveToTheChannel(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        return is_method(frame, "basic.get") and frame.channel == 2


@fault(
    "auto-delete-changes",
    f"{DECLARE}auto-delete/pre-existence",
    says="a later declare makes a queue auto-delete",
)
class AutoDeleteChanges(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "queue.declare") and frame.arguments["auto_delete"]:
            conn.memory["queue"] = frame.arguments["queue"]
            return [changed(frame, auto_delete=False)]
        if is_method(frame, "basic.cancel") and "queue" in conn.memory:
            conn.to_broker(method("queue.delete", frame.channel, queue=conn.memory["queue"], no_wait=True))
        return None


@fault(
    "auto-delete-impatient",
    "amqp-0-9-1:3.1.4/auto-delete",
    "amqp-0-9-1:4.5/auto-delete-on-close",
    says="auto-delete queues go with their connection, consumed or not",
)
class AutoDeleteImpatient(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "queue.declare") and frame.arguments["auto_delete"]:
            given = {"queue": frame.arguments["queue"], "consumer_tag": frame.arguments["queue"], "no_wait": True}
            return [frame, method("basic.consume", frame.channel, **given)]
        return None


@fault("binding-refused-twice", "amqp-0-9-1:queue.bind/duplicates", says="a repeated queue binding is refused")
class BindingRefusedTwice(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        if not is_method(frame, "queue.bind"):
            return False
        key = frame.arguments["queue"], frame.arguments["exchange"], frame.arguments["routing_key"]
        bound = conn.memory.setdefault("bound", set())
        is_wrong = key in bound
        bound.add(key)
        return bool(is_wrong)


@fault(
    "durable-to-durable-only",
    "amqp-0-9-1:queue.bind/transient-exchange",
    says="a durable queue may not be bound to a transient exchange",
)
class DurableToDurableOnly(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        if is_method(frame, "queue.declare") and frame.arguments["durable"]:
            conn.memory[frame.arguments["queue"]] = True
        return is_method(frame, "queue.bind") and frame.arguments["queue"] in conn.memory


@fault("three-bindings", "amqp-0-9-1:queue.bind/binding-count", says="a queue takes three bindings")
class ThreeBindings(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        if is_method(frame, "queue.bind"):
            conn.memory["count"] = conn.memory.get("count", 0) + 1
        return is_method(frame, "queue.bind") and conn.memory["count"] > 3


@fault(
    "last-queue-forgotten",
    "amqp-0-9-1:queue.bind.queue/queue-known",
    "amqp-0-9-1:queue.purge.queue/queue-known",
    "amqp-0-9-1:queue.delete.queue/queue-known",
    "amqp-0-9-1:queue.bind.exchange/default-exchange",
    says="an empty name never means the queue declared last, and never the default exchange",
)
class LastQueueForgotten(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        if not is_method(frame, "queue.bind", "queue.purge", "queue.delete"):
            return False
        return not frame.arguments["queue"] or frame.arguments.get("exchange") == ""


@fault(
    "queue-delete-pretended",
    "amqp-0-9-1:queue.delete.queue/must-exist",
    "amqp-0-9-1:basic.cancel/01",
    says="queue.delete is answered and not done",
)
class QueueDeletePretended(_Pretends):
    name = "queue.delete"


@fault(
    "cancel-without-queue-refused",
    "amqp-0-9-1:basic.cancel/01",
    "amqp-0-9-1:consumer-cancel-notify/03",
    says="cancel fails when the queue has gone",
)
class CancelWithoutQueueRefused(_Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        return is_method(frame, "basic.cancel")
