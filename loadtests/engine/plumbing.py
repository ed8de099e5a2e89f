"""Where messages go: queues, exchanges and topics of one stage, made before and removed after, under our prefix."""

from collections.abc import Iterable
from typing import Any

from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.targets.target import Target
from mqproof.loadtests.engine.amqp import LARGEST, AmqpBatch, AmqpWire
from mqproof.loadtests.engine.batch import Layout, batch_of
from mqproof.loadtests.engine.mqtt import MqttBatch, MqttWire
from mqproof.loadtests.engine.names import Names
from mqproof.loadtests.engine.traffic import Traffic
from mqproof.loadtests.engine.wire import Broken, Forbidden, Scratch
from mqproof.loadtests.settings import BadSettings

ROWS = 512  # messages of one write
ROOM = 1 << 18  # octets of one write's rows at most, unless one message is larger
EXPIRING = {"rabbitmq", "mqproof"}  # words in the names of products that know x-expires
EXPIRES_MS = 120_000
SMALL = 65536  # octets of a buffer, where there are many connections
Thing = tuple[str, str]  # queue, exchange or session, and its name


class Impossible(BadSettings):
    """A combination that this protocol or broker cannot do; one line with the reason."""


class AmqpPlumbing:
    """AMQP 0-9-1."""

    def __init__(self, target: Target, traffic: Traffic, names: Names) -> None:
        if traffic.largest > LARGEST:
            raise Impossible(f"--payload {traffic.largest}: the engine sends at most {LARGEST} octets, one body frame")
        self.target, self.traffic, self.scratch = target, traffic, Scratch()
        self._queues = [names(f"queue-{index}") for index in range(traffic.routes)]
        self._exchange = names("exchange") if traffic.exchange else ""
        self._properties: dict[str, Any] = {"delivery_mode": 2 if traffic.persistent else 1, **traffic.properties}

    def things(self) -> list[Thing]:
        """Return everything that ``make`` makes."""
        exchange = [("exchange", self._exchange)] if self._exchange else []
        return [("queue", queue) for queue in self._queues] + exchange

    def make(self) -> None:
        """Declare everything."""
        wire = AmqpWire(self.target, self.scratch)
        traffic = self.traffic
        arguments = dict(traffic.queue_arguments)
        if traffic.queue_type:
            arguments["x-queue-type"] = traffic.queue_type
        goes = not traffic.crash and not traffic.durable and not traffic.poll  # with its last consumer
        if not goes and EXPIRING & set(self.target.product.lower().split()):
            arguments["x-expires"] = EXPIRES_MS
        if self._exchange:
            wire.call("exchange.declare", exchange=self._exchange, type=traffic.exchange, auto_delete=True)
        for index, queue in enumerate(self._queues):
            wire.call("queue.declare", queue=queue, durable=traffic.durable, auto_delete=goes, arguments=arguments)
            if self._exchange:
                self._bind(wire, queue, self._key(index), {"route": str(index), "x-match": "all"})
        for number in range(traffic.bindings):
            given = {"other": str(number), "x-match": "all"}
            self._bind(wire, self._queues[0], f"other.{number}", given, no_wait=number < traffic.bindings - 1)
        wire.close()

    def _bind(
        self, wire: AmqpWire, queue: str, key: str, arguments: dict[str, str], *, no_wait: bool = False
    ) -> None:
        given = arguments if self.traffic.exchange == "headers" else {}
        say = wire.tell if no_wait else wire.call
        say("queue.bind", queue=queue, exchange=self._exchange, routing_key=key, arguments=given, no_wait=no_wait)

    def _key(self, route: int) -> str:
        return f"load.{self.traffic.route(route) or 'all'}".replace(" ", "")

    def publisher(self, number: int) -> AmqpWire:
        """Return an open connection for a publisher."""
        wire = AmqpWire(self.target, self.scratch, SMALL, self.traffic.keep_alive)
        if self.traffic.confirm:
            wire.confirm()
        wire.start_walking()
        return wire

    def batch(self, number: int, rows: int = 0) -> Layout:
        """Return what lays out a publisher's messages."""
        traffic, route = self.traffic, number % self.traffic.routes
        properties = dict(self._properties)
        if traffic.exchange == "headers":
            properties["headers"] = {**properties.get("headers", {}), "route": str(route)}
        key = self._key(route) if self._exchange else self._queues[route]
        return batch_of(
            traffic.sizes or (traffic.payload,), traffic.template,
            lambda rows, payload: AmqpBatch(rows, payload, self._exchange, key, properties), rows or rows_of(traffic),
        )  # fmt: skip

    def consumer(self, route: int, path: int) -> AmqpWire:
        """Return a connection that consumes from a route's queue."""
        wire = AmqpWire(self.target, self.scratch)
        if self.traffic.poll:
            wire.start_polling(self._queues[route])
        else:
            wire.consume(self._queues[route], self.traffic.prefetch)
        return wire

    def depth(self, wire: AmqpWire | None = None) -> int:
        """Return how many messages wait in all queues; a ``wire`` of one's own stays open. Raises Broken."""
        asking = wire or AmqpWire(self.target, self.scratch, SMALL)
        try:
            answers = [asking.call("queue.declare", queue=queue, passive=True) for queue in self._queues]
        finally:
            if wire is None:
                asking.close()
        return sum(int(answer.arguments["message_count"]) for answer in answers)

    def remove(self) -> None:
        """Delete everything; what has gone is fine."""
        remove(self.target, self.things())


class MqttPlumbing:
    """MQTT. Consumers of one route compete only through a shared subscription, which takes MQTT 5.0 (section 4.8.2)."""

    def __init__(self, target: Target, traffic: Traffic, names: Names) -> None:
        self.is_shared = traffic.consumers > 1 and traffic.pattern == "share"
        if self.is_shared and target.capabilities and "shared_subscription" not in target.capabilities:
            raise Impossible(
                "consumers that share one subscription need MQTT 5.0 and a broker that has shared subscriptions"
            )
        self._version = Version.V5_0 if self.is_shared or traffic.mqtt_version == "5.0" else Version.V3_1_1
        self.target, self.traffic, self.scratch = target, traffic, Scratch()
        self._names = names
        self._resume = bool(traffic.reconnect) or traffic.sessions
        self._base = names("topic")

    def things(self) -> list[Thing]:
        """Return the sessions that outlive their connections; nothing is retained."""
        traffic, client = self.traffic, self._names.client_id
        lasting = [client("p", number) for number in range(traffic.publishers if self._resume else 0)]
        if traffic.sessions:
            lasting += [client("s", number) for number in range(traffic.routes * traffic.consumers)]
        return [("session", client_id) for client_id in lasting]

    def make(self) -> None:
        """Nothing: topics need no declaration."""

    def _topic(self, number: int) -> str:
        route = 0 if self.traffic.pattern == "fan" else number % self.traffic.routes
        return f"{self._base}/{route}/{self.traffic.topic}{number}"

    def publisher(self, number: int) -> MqttWire:
        """Return an open connection for a publisher."""
        wire = MqttWire(
            self.target, self.scratch, self._names.client_id("p", number), clean=not self._resume,
            keep_alive=self.traffic.keep_alive, buffer=SMALL, version=self._version,
        )  # fmt: skip
        wire.start_walking()
        return wire

    def batch(self, number: int, rows: int = 0) -> Layout:
        """Return what lays out a publisher's messages."""
        traffic = self.traffic
        return batch_of(
            traffic.sizes or (traffic.payload,), traffic.template,
            lambda rows, payload: MqttBatch(rows, payload, self._topic(number), traffic.qos, self._version),
            rows or rows_of(traffic),
        )  # fmt: skip

    def consumer(self, route: int, path: int) -> MqttWire:
        """Return a connection that subscribes to a route."""
        number = route * self.traffic.consumers + path
        wire = MqttWire(self.target, self.scratch, self._names.client_id("s", number), version=self._version,
                        clean=not self.traffic.sessions)
        shared = f"$share/{self._base}/" if self.is_shared else ""
        topic_filter = f"{shared}{self._base}/{0 if self.traffic.pattern == 'fan' else route}/#"
        wire.subscribe(topic_filter, self.traffic.qos)
        return wire

    def depth(self, wire: MqttWire | None = None) -> int:
        """Return 0: MQTT does not say what waits."""
        return 0

    def remove(self) -> None:
        """End the sessions that outlive their connections."""
        remove(self.target, self.things())


Plumbing = AmqpPlumbing | MqttPlumbing


def plumbing(target: Target, traffic: Traffic, names: Names) -> Plumbing:
    """Return the plumbing of a target's protocol. Raises Impossible."""
    return (AmqpPlumbing if target.protocol == "amqp" else MqttPlumbing)(target, traffic, names)


def rows_of(traffic: Traffic) -> int:
    """Return how many messages one write has at most."""
    return max(1, min(ROWS, ROOM // (traffic.largest + 64)))


def remove(target: Target, things: Iterable[Thing]) -> int:
    """Delete queues, exchanges and sessions by name; return how many are gone for sure.

    Raises Forbidden, when all others are gone, where this user may not delete something, and Broken at no answer.
    """
    scratch, removed = Scratch(), 0
    forbidden: Forbidden | None = None
    for kind, name in things:
        if kind == "session":
            MqttWire(target, scratch, name, buffer=SMALL).close()
        else:
            wire = AmqpWire(target, scratch, SMALL)
            try:
                wire.call(f"{kind}.delete", **{kind: name})
            except Forbidden as error:
                forbidden = error
                continue
            except Broken as error:
                if "404" not in str(error):  # it was never made
                    raise
            finally:
                wire.close()
        removed += 1
    if forbidden is not None:
        raise forbidden
    return removed


def connect(target: Target, client_id: str) -> AmqpWire | MqttWire:
    """Return a connection that is good for nothing but to see that the broker lets us in. Raises Broken."""
    if target.protocol == "amqp":
        return AmqpWire(target, Scratch(), SMALL)
    return MqttWire(target, Scratch(), client_id, buffer=SMALL)
