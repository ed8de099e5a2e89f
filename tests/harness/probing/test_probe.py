"""A probe reports what a broker announces beside what it did when it was tried, and leaves nothing behind."""

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest
from mqproof.harness.probing import amqp, mqtt
from mqproof.harness.probing.limits import Limit, ProbeNames, megabytes
from mqproof.harness.reference.amqp.server import start_in_thread as start_amqp
from mqproof.harness.reference.mqtt.server import start_in_thread as start_mqtt
from mqproof.harness.targets.target import Target, parse_url


@pytest.fixture
def amqp_target() -> Iterator[Target]:
    broker = start_amqp()
    yield parse_url(f"amqp://127.0.0.1:{broker.port}")
    broker.stop()


@pytest.fixture
def mqtt_target() -> Iterator[Target]:
    broker = start_mqtt()
    yield parse_url(f"mqtt://127.0.0.1:{broker.port}")
    broker.stop()


def named(limits: list[Limit]) -> dict[str, tuple[str, str]]:
    return {limit.name: (limit.announced, limit.measured) for limit in limits}


def test_amqp_limits_are_announced_and_measured(amqp_target: Target) -> None:
    limits = named(amqp.probe(amqp_target, ProbeNames()))
    assert limits["frame-max (octets)"] == ("131072", "131072, one octet more is refused")
    assert limits["smallest frame-max taken"][1] == "4096"
    assert limits["exchange types"][1] == "direct, fanout, topic, headers"
    assert limits["queue types"][1] == "classic"


def test_mqtt_limits_are_announced_and_measured(mqtt_target: Target) -> None:
    limits = named(mqtt.probe(mqtt_target, ProbeNames()))
    assert limits["versions"][1] == "3.1.1, 5.0"
    assert limits["QoS granted"] == ("2", "2")
    assert limits["retained messages"] == ("yes", "yes")
    assert limits["maximum packet size"][0] == "1048576"
    assert limits["largest message"][1] == "262144 octets, 1 MiB is refused"


def test_command_prints_json() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mqproof.harness.cli", "probe", "embedded", "--json"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    rows = json.loads(done.stdout)
    assert [row["protocol"] for row in rows] == ["amqp", "mqtt"]
    assert all(row["limits"] and "password" not in json.dumps(row) for row in rows)


@pytest.mark.parametrize(
    ("target", "code", "words"),
    [("amqp://127.0.0.1:1", 3, "nothing listens on port 1"), ("nonsense", 2, "is no target")],
)
def test_failure_is_one_line_and_a_code(target: str, code: int, words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mqproof.harness.cli", "probe", target],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(("octets", "text"), [(0, "0 octets"), (65536, "65536 octets"), (4 << 20, "4 MiB")])
def test_sizes_in_words(octets: int, text: str) -> None:
    assert megabytes(octets) == text
