"""Puts stages one behind the other: connection faults before the client, then messages, then faults of brokers."""

from collections.abc import Callable
from typing import Any

from mqproof.dissectors.amqp.codec import Body, ContentHeader, Frame, Method
from mqproof.dissectors.mqtt.codec import Packet, Publish, packet_name
from mqproof.harness.chaos.amqp import AmqpMessages
from mqproof.harness.chaos.decisions import Decisions
from mqproof.harness.chaos.faults import broker_faults
from mqproof.harness.chaos.mqtt import MqttMessages
from mqproof.harness.chaos.transport import Line
from mqproof.harness.proxy.core import Link, Passage
from mqproof.harness.saboteur.core import (
    FAULTS,
    AmqpConn,
    AmqpContentFault,
    AmqpFault,
    AmqpResult,
    Fault,
    MqttConn,
    MqttFault,
    MqttResult,
    passage_for,
)


class Between:
    """A link as one stage sees it: its neighbours instead of the sockets."""

    def __init__(self, link: Link, to_client: Callable[[bytes], None], to_broker: Callable[[bytes], None]) -> None:
        self._link = link
        self._to_client, self._to_broker = to_client, to_broker

    def to_client(self, octets: bytes) -> None:
        """Hand octets to the stage before."""
        if octets:
            self._to_client(octets)

    def to_broker(self, octets: bytes) -> None:
        """Hand octets to the stage behind."""
        if octets:
            self._to_broker(octets)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


class Chain(Passage):
    """Several passages as one. ``makers`` stand from the client's side to the broker's."""

    def __init__(self, link: Link, makers: list[Callable[[Any], Passage]]) -> None:
        super().__init__(link)
        self._stages: list[Passage] = []
        for number, make in enumerate(makers):
            is_last = number == len(makers) - 1
            before = self._before(number) if number else link.to_client
            self._stages.append(make(Between(link, before, link.to_broker if is_last else self._behind(number))))

    def _before(self, number: int) -> Callable[[bytes], None]:
        return lambda octets: self._stages[number - 1].from_broker(octets)

    def _behind(self, number: int) -> Callable[[bytes], None]:
        return lambda octets: self._stages[number + 1].from_client(octets)

    def from_client(self, octets: bytes) -> None:
        """Hand octets to the first stage."""
        self._stages[0].from_client(octets)

    def from_broker(self, octets: bytes) -> None:
        """Hand octets to the last stage."""
        self._stages[-1].from_broker(octets)

    def client_ended(self) -> None:
        """Tell every stage, the client's side first."""
        for stage in self._stages:
            stage.client_ended()

    def broker_ended(self) -> None:
        """Tell every stage, the broker's side first."""
        for stage in reversed(self._stages):
            stage.broker_ended()

    async def settle(self, source: str, *, ended: bool = False) -> None:
        """Wait for every stage that holds something back."""
        for stage in self._stages:
            await stage.settle(source, ended=ended)


class _Gate:
    """Lets a fault of brokers see only what the dice choose for it."""

    def __init__(self, fault: Fault, decisions: Decisions, number: int) -> None:
        self._fault, self._decisions, self._connection = fault, decisions, number
        self._chosen: dict[tuple[str, int], bool] = {}

    def asks(self, source: str, name: str, facts: dict[str, str], channel: int = -1) -> bool:
        """Return whether the fault is to act on this frame; what follows on the channel goes the same way."""
        route = f"{'publish' if source == 'client' else 'deliver'} {name}"
        number = self._decisions.count(f"{self._fault.spec.name} {route}")
        facts["direction"] = route.partition(" ")[0]
        plans = self._decisions.active([self._fault.spec.name])
        self._chosen[source, channel] = self._decisions.choose(plans, route, number, facts) is not None
        self.seen = route, number
        return self._chosen[source, channel]

    def goes_on(self, source: str, channel: int) -> bool:
        """Return whether the method before this part of a content was chosen."""
        return self._chosen.get((source, channel), False)

    def noted(self, result: Any) -> Any:
        """Write down that the fault has acted, if it has."""
        if result is not None:
            self._decisions.note(self._connection, *self.seen, self._fault.spec.name)
        return result


class AmqpGate(AmqpFault):
    """A fault on AMQP frames by chance."""

    def __init__(self, fault: AmqpFault, gate: _Gate) -> None:
        super().__init__()
        self._fault, self._gate = fault, gate

    def from_client(self, frame: Frame, conn: AmqpConn) -> AmqpResult:
        """Let the fault act where the dice say so."""
        return self._act("client", frame, conn)

    def from_broker(self, frame: Frame, conn: AmqpConn) -> AmqpResult:
        """Let the fault act where the dice say so."""
        return self._act("broker", frame, conn)

    def _act(self, source: str, frame: Frame, conn: AmqpConn) -> AmqpResult:
        channel = getattr(frame, "channel", 0)
        if isinstance(frame, (ContentHeader, Body)):
            asked = self._gate.goes_on(source, channel)
        else:
            name = frame.name if isinstance(frame, Method) else type(frame).__name__
            asked = self._gate.asks(source, name, _facts(frame), channel)
        result: AmqpResult = getattr(self._fault, f"from_{source}")(frame, conn) if asked else None
        noted: AmqpResult = self._gate.noted(result)
        return noted


class AmqpContentGate(AmqpContentFault):
    """A fault on AMQP messages by chance."""

    def __init__(self, fault: AmqpContentFault, gate: _Gate) -> None:
        super().__init__()
        self._fault, self._gate = fault, gate

    def message_from_client(self, method: Method, header: ContentHeader, body: bytes, conn: AmqpConn) -> AmqpResult:
        """Let the fault act where the dice say so."""
        asked = self._gate.asks("client", method.name, _facts(method))
        result: AmqpResult = self._fault.message_from_client(method, header, body, conn) if asked else None
        noted: AmqpResult = self._gate.noted(result)
        return noted

    def message_from_broker(self, method: Method, header: ContentHeader, body: bytes, conn: AmqpConn) -> AmqpResult:
        """Let the fault act where the dice say so."""
        asked = self._gate.asks("broker", method.name, _facts(method))
        result: AmqpResult = self._fault.message_from_broker(method, header, body, conn) if asked else None
        noted: AmqpResult = self._gate.noted(result)
        return noted


class MqttGate(MqttFault):
    """A fault on MQTT packets by chance."""

    def __init__(self, fault: MqttFault, gate: _Gate) -> None:
        super().__init__()
        self._fault, self._gate = fault, gate

    def from_client(self, packet: Packet, conn: MqttConn) -> MqttResult:
        """Let the fault act where the dice say so."""
        return self._act("client", packet, conn)

    def from_broker(self, packet: Packet, conn: MqttConn) -> MqttResult:
        """Let the fault act where the dice say so."""
        return self._act("broker", packet, conn)

    def _act(self, source: str, packet: Packet, conn: MqttConn) -> MqttResult:
        facts = {"topic": packet.topic} if isinstance(packet, Publish) else {}
        asked = self._gate.asks(source, packet_name(packet), facts)
        result: MqttResult = getattr(self._fault, f"from_{source}")(packet, conn) if asked else None
        noted: MqttResult = self._gate.noted(result)
        return noted


def passages(decisions: Decisions, protocol: str) -> Callable[[Link], Passage]:
    """Return what makes the passage of each connection, with the faults that the plans name by then."""
    counter = iter(range(1, 1 << 62))
    brokers = broker_faults(protocol)
    made: dict[str, Fault] = {}  # promises may span connections

    def passage(link: Link) -> Passage:
        number = next(counter)
        messages = AmqpMessages(decisions, number) if protocol == "amqp" else MqttMessages(decisions, number)
        makers: list[Callable[[Any], Passage]] = [
            lambda between: Line(between, decisions, number),
            passage_for(messages),
        ]
        for name in dict.fromkeys(plan.fault for plan in decisions.plans if plan.fault in brokers):
            fault = made.setdefault(name, FAULTS[name].make())
            makers.append(passage_for(_gated(fault, _Gate(fault, decisions, number))))
        return Chain(link, makers)

    return passage


def _gated(fault: Fault, gate: _Gate) -> Fault:
    if isinstance(fault, AmqpContentFault):
        return AmqpContentGate(fault, gate)
    if isinstance(fault, AmqpFault):
        return AmqpGate(fault, gate)
    assert isinstance(fault, MqttFault)
    return MqttGate(fault, gate)


def _facts(frame: object) -> dict[str, str]:
    arguments = getattr(frame, "arguments", {})
    names = {"queue": "queue", "exchange": "exchange", "routing_key": "key"}
    return {ours: str(arguments[theirs]) for theirs, ours in names.items() if theirs in arguments}
