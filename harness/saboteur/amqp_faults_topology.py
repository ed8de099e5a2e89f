"""Faults of AMQP brokers: declaring, binding and deleting exchanges."""

from typing import Any

from mqproof.dissectors.amqp.codec import Method, method
from mqproof.harness.saboteur.amqp_faults import changed, is_method
from mqproof.harness.saboteur.amqp_faults_connection import refusal
from mqproof.harness.saboteur.core import AmqpConn, AmqpFault, AmqpResult, fault

DECLARE = "amqp-0-9-1:queue.declare."
EXCHANGE = "amqp-0-9-1:exchange.declare."
STANDARD = ("direct", "fanout", "topic", "headers")


class Refuses(AmqpFault):
    """Refuses what is legal, at the level of the channel."""

    code = 406

    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if not isinstance(frame, Method) or not self.wrong(frame, conn):
            return None
        conn.to_client(refusal(frame, self.code))
        return []

    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        return False


class Pretends(AmqpFault):
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
class DirectNotOffered(Refuses):
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
class FifteenExchanges(Refuses):
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
class ReservedNamesLocked(Refuses):
    code = 403

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
class NamesStrict(Refuses):
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
class RedeclareRefused(Refuses):
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
    "no-durable-things",
    f"{EXCHANGE}durable/support",
    f"{DECLARE}durable/types",
    f"{DECLARE}exclusive/types",
    says="durable exchanges and durable queues are refused",
)
class NoDurableThings(Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        return is_method(frame, "exchange.declare", "queue.declare") and bool(frame.arguments["durable"])


@fault(
    "no-transient-shared-queues",
    f"{DECLARE}durable/types",
    says="transient queues that belong to no connection are refused",
)
class NoTransientSharedQueues(Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        given = frame.arguments
        return is_method(frame, "queue.declare") and not (given["durable"] or given["exclusive"] or given["passive"])


@fault(
    "auto-delete-at-once",
    f"{EXCHANGE}auto-delete/amq_exchange_02",
    says="an auto-delete exchange is gone before it is bound",
)
class AutoDeleteAtOnce(Refuses):
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
class ExchangeDeletePretended(Pretends):
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
class IfUnusedRefused(Refuses):
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
class ExchangeBindingRefused(Refuses):
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
class ExchangeUnbindRefused(Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        names = [frame.arguments.get(key) for key in ("source", "destination", "exchange")]
        return is_method(frame, "exchange.unbind", "queue.unbind") and "" in names
