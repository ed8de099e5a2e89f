"""Where messages go: queues, exchanges and topics of one stage, made before and removed after, under our prefix."""

from typing import Any

from mqproof.harness.probing.limits import ProbeNames
from mqproof.harness.targets.target import Target
from mqproof.loadtests.engine.amqp import LARGEST, AmqpBatch, AmqpWire
from mqproof.loadtests.engine.mqtt import MqttBatch, MqttWire
from mqproof.loadtests.engine.traffic import Traffic
from mqproof.loadtests.engine.wire import Broken, Scratch

ROWS = 512  # messages of one write
EXPIRING = {"rabbitmq", "mqproof"}  # words in the names of products that know x-expires
EXPIRES_MS = 120_000
SMALL = 65536  # octets of a buffer, where there are many connections


class Impossible(ValueError):
    """A combination that this protocol or broker cannot do; one line with the reason."""


class AmqpPlumbing:
    """AMQP 0-9-1."""

    def __init__(self, target: Target, traffic: Traffic, names: ProbeNames) -> None:
        if traffic.payload > LARGEST:
            raise Impossible(f"--payload {traffic.payload}: the engine sends at most {LARGEST} octets, one body frame")
        self.target, self.traffic, self.scratch = target, traffic, Scratch()
        self._queues = [names(f"load-{index}") for index in range(traffic.routes)]
        self._exchange = names("load-exchange") if traffic.exchange else ""
        self._properties: dict[str, Any] = {"delivery_mode": 2 if traffic.persistent else 1}

    def make(self) -> None:
        """Declare everything."""
        wire = AmqpWire(self.target, self.scratch)
        traffic = self.traffic
        arguments: dict[str, Any] = {"x-queue-type": traffic.queue_type} if traffic.queue_type else {}
        goes = not traffic.crash and not traffic.durable  # with its last consumer, also when we are killed
        if not goes and EXPIRING & set(self.target.product.lower().split()):
            arguments["x-expires"] = EXPIRES_MS
        if self._exchange:
            wire.call("exchange.declare", exchange=self._exchange, type=traffic.exchange, auto_delete=True)
        for index, queue in enumerate(self._queues):
            wire.call("queue.declare", queue=queue, durable=traffic.durable, auto_delete=goes, arguments=arguments)
            if self._exchange:
                self._bind(wire, queue, self._key(index), {"route": str(index), "x-match": "all"})
        for number in range(traffic.bindings):
            self._bind(wire, self._queues[0], f"other.{number}", {"other": str(number), "x-match": "all"})
        wire.close()

    def _bind(self, wire: AmqpWire, queue: str, key: str, arguments: dict[str, str]) -> None:
        given = arguments if self.traffic.exchange == "headers" else {}
        wire.call("queue.bind", queue=queue, exchange=self._exchange, routing_key=key, arguments=given)

    def _key(self, route: int) -> str:
        return f"load.{self.traffic.route(route) or 'all'}".replace(" ", "")

    def publisher(self, number: int) -> tuple[AmqpWire, AmqpBatch]:
        """Return an open connection and a batch for a publisher."""
        wire = AmqpWire(self.target, self.scratch, SMALL)
        route = number % self.traffic.routes
        if self.traffic.confirm:
            wire.confirm()
        wire.start_walking()
        properties = dict(self._properties)
        if self.traffic.exchange == "headers":
            properties["headers"] = {"route": str(route)}
        key = self._key(route) if self._exchange else self._queues[route]
        return wire, AmqpBatch(ROWS, self.traffic.payload, self._exchange, key, properties)

    def consumer(self, route: int) -> AmqpWire:
        """Return a connection that consumes from a route's queue."""
        wire = AmqpWire(self.target, self.scratch)
        wire.consume(self._queues[route], self.traffic.prefetch)
        return wire

    def depth(self, wire: AmqpWire) -> int:
        """Return how many messages wait in all queues; ``wire`` must not be walked."""
        answers = (wire.call("queue.declare", queue=queue, passive=True) for queue in self._queues)
        return sum(int(answer.arguments["message_count"]) for answer in answers)

    def remove(self) -> None:
        """Delete everything; what has gone is fine."""
        for name, given in [("queue.delete", {"queue": queue}) for queue in self._queues] + (
            [("exchange.delete", {"exchange": self._exchange})] if self._exchange else []
        ):
            wire = AmqpWire(self.target, self.scratch, SMALL)
            try:
                wire.call(name, **given)
            except Broken:
                pass  # 404: it was never made
            finally:
                wire.close()


class MqttPlumbing:
    """MQTT 3.1.1. Consumers of one route do not compete: a route is one subscription."""

    def __init__(self, target: Target, traffic: Traffic, names: ProbeNames) -> None:
        if traffic.consumers > 1 and traffic.pattern == "share":
            raise Impossible("MQTT 3.1.1 has no competing consumers: use --queues, each with a subscriber of its own")
        self.target, self.traffic, self.scratch = target, traffic, Scratch()
        self._names = names
        self._base = names("load")
        self._sessions: dict[int, str] = {}  # publisher -> client id

    def make(self) -> None:
        """Nothing: topics need no declaration."""

    def _topic(self, number: int) -> str:
        route = 0 if self.traffic.pattern == "fan" else number % self.traffic.routes
        return f"{self._base}/{route}/{self.traffic.topic}{number}"

    def publisher(self, number: int) -> tuple[MqttWire, MqttBatch]:
        """Return an open connection and a batch for a publisher."""
        client_id = self._sessions.setdefault(number, self._names.client_id())
        wire = MqttWire(self.target, self.scratch, client_id, clean=not self.traffic.reconnect, buffer=SMALL)
        wire.start_walking()
        return wire, MqttBatch(ROWS, self.traffic.payload, self._topic(number), self.traffic.qos)

    def consumer(self, route: int) -> MqttWire:
        """Return a connection that subscribes to a route."""
        wire = MqttWire(self.target, self.scratch, self._names.client_id())
        wire.subscribe(f"{self._base}/{0 if self.traffic.pattern == 'fan' else route}/#", self.traffic.qos)
        return wire

    def remove(self) -> None:
        """End the sessions that outlive their connections; nothing is retained."""
        if self.traffic.reconnect:
            for client_id in self._sessions.values():
                MqttWire(self.target, self.scratch, client_id, buffer=SMALL).close()


Plumbing = AmqpPlumbing | MqttPlumbing


def plumbing(target: Target, traffic: Traffic, names: ProbeNames) -> Plumbing:
    """Return the plumbing of a target's protocol. Raises Impossible."""
    return (AmqpPlumbing if target.protocol == "amqp" else MqttPlumbing)(target, traffic, names)
