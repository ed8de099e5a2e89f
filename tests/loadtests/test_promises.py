"""What the broker promised and did not keep is exit code 1; what it never promised, or what was allowed, is none."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mqproof.dissectors.mqtt.codec import Publish
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.saboteur.core import MqttConn, MqttFault, MqttResult, passage_for
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.loadtests.engine.traffic import Traffic
from mqproof.loadtests.messages import read

LOST, TWICE = (10, 11), 20
FEW = ("--users", "1", "--rate", "100", "--duration", "0.5", "--max-unconfirmed", "16")


class Loses(MqttFault):
    """Loses two messages on their way to the subscriber: whoever published them has been told that all is well."""

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        stamp = read(packet.payload) if isinstance(packet, Publish) else None
        return [] if stamp is not None and stamp.sequence in LOST else None


class Repeats(MqttFault):
    """Delivers one message once more, as if it were new."""

    def from_broker(self, packet: Any, conn: MqttConn) -> MqttResult:
        stamp = read(packet.payload) if isinstance(packet, Publish) else None
        if stamp is None or stamp.sequence != TWICE:
            return None
        return [packet, replace(packet, qos=0, packet_id=None)]


@pytest.mark.whole_run
@pytest.mark.parametrize(
    ("fault", "options", "code", "lines"),
    [
        (Loses, ("--qos", "1"), 1, (
            "confirmed but lost: 2, bound 0: is missed",
            "first of the unexplained: publisher 1, message 10 to 11",
            "every message's fate: written with --trace",
        )),
        (Loses, ("--qos", "1", "--max-lost", "2"), 0, ("lost: 2, bound 2: holds",)),
        (Loses, ("--qos", "0"), 0, ("lost, unexplained: 2",)),
        (Repeats, ("--qos", "2"), 1, ("duplicated at exactly once: 1, bound 0: is missed",)),
        (Repeats, ("--qos", "1"), 0, ("duplicated 1,",)),
        (Repeats, ("--qos", "1", "--max-duplicated", "0", "--max-lost", "0", "--max-p99", "1us"), 1, (
            "duplicated: 1, bound 0: is missed", "lost: 0, bound 0: holds", "bound 1: is missed",
        )),
    ],
)  # fmt: skip
def test_exit_code_says_whether_the_broker_kept_what_it_promised(
    fault: type[MqttFault], options: tuple[str, ...], code: int, lines: tuple[str, ...], embedded: LocalBroker,
    mqproof: Callable[..., "subprocess.CompletedProcess[str]"], tmp_path: Path,
) -> None:  # fmt: skip
    with ProxyLoop() as loop:
        url = loop.proxy(embedded.target("mqtt"), passage_for(fault())).target.url
        done = mqproof("load", "throughput", url, *FEW, *options, "--out", tmp_path)
    assert done.returncode == code, done.stdout + done.stderr
    assert [line for line in lines if line not in done.stdout] == []


@pytest.mark.parametrize(
    ("protocol", "given", "promise"),
    [
        ("amqp", {}, "at least once"),
        ("amqp", {"confirm": False, "qos": 2}, "at most once"),
        ("mqtt", {"qos": 0}, "at most once"),
        ("mqtt", {"qos": 1, "confirm": False}, "at least once"),
        ("mqtt", {"qos": 2}, "exactly once"),
        ("mqtt", {"qos": 2, "sessions": True}, "at least once"),
        ("mqtt", {"qos": 2, "beside": (Traffic("more", qos=1),)}, "at least once"),
    ],
)
def test_what_is_promised_follows_from_the_quality_of_service(
    protocol: str, given: dict[str, Any], promise: str
) -> None:
    assert Traffic("some", **given).promise(protocol) == promise
