"""The ledger's findings end to end: every defect that the saboteur injects is found, and why messages are missing."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.dissectors.mqtt.codec import Puback, Publish
from mqproof.harness.cli.codes import DEVIATES
from mqproof.harness.ledger import IN_FLIGHT, LIMIT, NOT_SUBSCRIBED, UNEXPLAINED
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.saboteur.core import (
    AmqpConn,
    AmqpContentFault,
    AmqpResult,
    MqttConn,
    MqttFault,
    MqttResult,
    passage_for,
)
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.target import Target
from mqproof.loadtests.messages import Stamp, read, write

pytestmark = pytest.mark.whole_run

MESSAGES = 420
Load = Callable[..., dict[str, Any]]
# What is done to which message of the only publisher.
# One that was never sent comes last: the order of what follows it would be late.
LOST, TWICE, LATE, OVERTAKING, CHANGED = (10, 11), 20, 30, 35, 40
FOREIGN, NEVER_SENT, UNCONFIRMED = 45, MESSAGES - 1, 50


def altered(payload: bytes, held: list[bytes]) -> list[bytes]:
    """Return what arrives instead of one message, in the order of arrival."""
    stamp = read(payload)
    if stamp is None:
        return [payload]  # the broker's own counters
    number = stamp.sequence
    if number in LOST:
        return []
    if number == LATE:
        held.append(payload)
        return []
    more = {
        TWICE: [payload],
        OVERTAKING: held,
        FOREIGN: [write(replace(stamp, publisher=stamp.publisher + 77))],
        NEVER_SENT: [write(Stamp(stamp.publisher, 10**6, stamp.intended))],
    }
    first = payload[:-1] + bytes([payload[-1] ^ 1]) if number == CHANGED else payload
    return [first, *more.get(number, [])]


class MqttDefects(MqttFault):
    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        if isinstance(packet, Puback) and packet.packet_id == UNCONFIRMED + 1:
            return []
        if not isinstance(packet, Publish):
            return None
        arriving = altered(packet.payload, self.memory.setdefault("held", []))
        unnumbered = replace(packet, qos=0, packet_id=None)
        return [replace(packet if payload is arriving[0] else unnumbered, payload=payload) for payload in arriving]


class AmqpDefects(AmqpContentFault):
    def message_from_broker(
        self, method: amqp.Method, header: amqp.ContentHeader, body: bytes, conn: AmqpConn
    ) -> AmqpResult:
        arguments = {name: value for name, value in method.arguments.items() if not name.startswith("reserved")}
        arriving = altered(body, self.memory.setdefault("held", []))
        return [frame for each in arriving for frame in amqp.content("basic.deliver", body=each, **arguments)]

    def from_broker(self, frame: Any, conn: AmqpConn) -> AmqpResult:
        if isinstance(frame, amqp.Method) and frame.name == "basic.ack" and frame.arguments["delivery_tag"] == MESSAGES:
            return []
        return super().from_broker(frame, conn)


@pytest.mark.parametrize(("protocol", "fault"), [("amqp", AmqpDefects), ("mqtt", MqttDefects)])
def test_every_injected_defect_is_found_and_nothing_else(
    protocol: str, fault: type[MqttFault] | type[AmqpContentFault], embedded: LocalBroker, load: Load, tmp_path: Path
) -> None:
    with ProxyLoop() as loop:
        target = loop.proxy(embedded.target(protocol), passage_for(fault())).target
        gentle = ("--users", "1", "--rate", "300", "--duration", "1.4", "--out", tmp_path)
        result = load("throughput", target.url, *gentle, code=DEVIATES)
    found = result["ledger"]
    assert found["published"] == MESSAGES
    assert (found["lost"], found["lost_by_cause"]) == (3, {UNEXPLAINED: 3})  # what was changed is lost, too
    assert found["confirmed_lost"] == 3
    assert found["examples"] == ["publisher 1, message 10 to 11", "publisher 1, message 40"]
    assert (found["duplicated"], found["corrupted"], found["unexpected"]) == (1, 1, 2)
    assert (found["reordered"], found["reordered_by"]) == (1, OVERTAKING - LATE)
    assert found["unconfirmed_delivered"] >= 1
    if protocol == "mqtt":
        assert found["unconfirmed_delivered"] == 1


class Cut(MqttFault):
    """Cuts the subscriber off, once."""

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        stamp = read(packet.payload) if isinstance(packet, Publish) else None
        if stamp is not None and stamp.sequence == 100 and not self.memory:
            self.memory["done"] = True
            conn.close()
        return None


def through(fault: MqttFault, target: Target, load: Load, *arguments: object, code: int = 0) -> dict[str, Any]:
    with ProxyLoop() as loop:
        return load("throughput", loop.proxy(target, passage_for(fault)).target.url, *arguments, code=code)


def test_what_is_published_while_nobody_is_subscribed_is_not_the_brokers_loss(
    mosquitto: LocalBroker, load: Load, tmp_path: Path
) -> None:
    gentle = ("--users", "1", "--rate", "300", "--duration", "1.4", "--qos", "0", "--out", tmp_path)
    found = through(Cut(), mosquitto.target("mqtt"), load, *gentle)["ledger"]
    assert found["lost"] > 10
    assert set(found["lost_by_cause"]) == {NOT_SUBSCRIBED}


class Withheld(MqttFault):
    """Loses the last messages on their way to the broker, with everything that would answer them."""

    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        stamp = read(packet.payload) if isinstance(packet, Publish) else None
        return [] if stamp is not None and stamp.sequence >= MESSAGES - 5 else None


def test_what_is_not_confirmed_at_the_end_is_in_flight(embedded: LocalBroker, load: Load, tmp_path: Path) -> None:
    gentle = ("--users", "1", "--rate", "300", "--duration", "1.4", "--out", tmp_path)
    found = through(Withheld(), embedded.target("mqtt"), load, *gentle)["ledger"]
    assert found["lost_by_cause"] == {IN_FLIGHT: 5}
    assert found["confirmed_lost"] == 0


def test_what_a_broker_says_that_it_dropped_is_its_limit(load: Load, tmp_path: Path) -> None:
    options = {"max_queued_messages": "10", "max_inflight_messages": "1", "sys_interval": "1"}
    with DRIVERS["mosquitto"].start(options=options) as broker:
        result = load(
            "throughput", broker.target("mqtt").url, "--users", "1", "--rate", "300", "--duration", "1.4",
            "--consumer-rate", "60", "--out", tmp_path,
        )  # fmt: skip
    found = result["ledger"]
    assert found["lost"] > 100
    assert set(found["lost_by_cause"]) == {LIMIT}
    assert (found["confirmed_lost"], found["examples"]) == (0, [])


def test_trace_tells_the_fate_of_every_message(embedded: LocalBroker, load: Load, tmp_path: Path) -> None:
    gentle = ("--users", "1", "--rate", "300", "--duration", "1.4", "--trace", "--out", tmp_path)
    through(MqttDefects(), embedded.target("mqtt"), load, *gentle, code=DEVIATES)
    (folder,) = (tmp_path / "traces").iterdir()
    lines = (folder / "fates.csv").read_text().splitlines()
    assert lines[0] == "publisher,route,first,last,fate,confirmed"
    assert "1,,10,11,lost: unexplained,yes" in lines
    assert f"1,,{UNCONFIRMED},{UNCONFIRMED},delivered,no" in lines
    fates = [line.split(",") for line in lines[1:]]
    assert sum(int(last) - int(first) + 1 for _, _, first, last, _, _ in fates) == MESSAGES
    arrivals = (folder / "arrivals.csv").read_text().splitlines()
    assert len(arrivals) - 1 == MESSAGES - len(LOST) + 1 + 2  # one twice, one foreign, one never sent
