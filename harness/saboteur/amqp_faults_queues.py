"""Faults of AMQP brokers: declaring, binding and deleting queues."""

from typing import Any

from mqproof.dissectors.amqp.codec import Method, method
from mqproof.harness.saboteur.amqp_faults import changed, is_method
from mqproof.harness.saboteur.amqp_faults_topology import DECLARE, Pretends, Refuses
from mqproof.harness.saboteur.core import AmqpConn, AmqpFault, AmqpResult, fault


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
    "amqp-0-9-1:queue.unbind.queue/must-exist",
    "amqp-0-9-1:queue.unbind.exchange/must-exist",
    "amqp-0-9-1:exchange.unbind.source/must-exist",
    "amqp-0-9-1:exchange.unbind.destination/must-exist",
    says="unbinding what is missing is answered by ok",
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
class AbsentThingsRefused(Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        names = [str(value) for value in frame.arguments.values()]
        is_removal = is_method(frame, "exchange.delete", "queue.delete", "exchange.unbind", "queue.unbind")
        return is_removal and any("absent" in name for name in names)


@fault("first-binding-only", "amqp-0-9-1:3.1.3.1/match", says="of several bindings with one key the first one counts")
class FirstBindingOnly(Pretends):
    name = "queue.bind"

    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        key = frame.arguments["exchange"], frame.arguments["routing_key"]
        bound = conn.memory.setdefault("bound", set())
        is_wrong = key in bound
        bound.add(key)
        return bool(is_wrong)


@fault("two-hundred-queues", "amqp-0-9-1:queue.declare/minimum-queues", says="the 201st queue is refused")
class TwoHundredQueues(Refuses):
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
class ExclusiveToTheChannel(Refuses):
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
class BindingRefusedTwice(Refuses):
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
class DurableToDurableOnly(Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        if is_method(frame, "queue.declare") and frame.arguments["durable"]:
            conn.memory[frame.arguments["queue"]] = True
        return is_method(frame, "queue.bind") and frame.arguments["queue"] in conn.memory


@fault("three-bindings", "amqp-0-9-1:queue.bind/binding-count", says="a queue takes three bindings")
class ThreeBindings(Refuses):
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
class LastQueueForgotten(Refuses):
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
class QueueDeletePretended(Pretends):
    name = "queue.delete"


@fault(
    "cancel-without-queue-refused",
    "amqp-0-9-1:basic.cancel/01",
    "amqp-0-9-1:consumer-cancel-notify/03",
    says="cancel fails when the queue has gone",
)
class CancelWithoutQueueRefused(Refuses):
    def wrong(self, frame: Method, conn: AmqpConn) -> bool:
        return is_method(frame, "basic.cancel")


@fault(
    "passive-declare-without-rights-closes-all",
    f"{DECLARE}passive/passive",
    says="a passive declare by a user without rights ends the connection",
)
class PassiveDeclareWithoutRightsClosesAll(AmqpFault):
    def from_client(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if is_method(frame, "connection.start-ok") and b"stranger" in frame.arguments["response"]:
            conn.memory["stranger"] = True
        if not is_method(frame, "queue.declare") or "stranger" not in conn.memory:
            return None
        conn.to_client(method("connection.close", 0, reply_code=530, reply_text="sabotaged"))
        return []
