"""Every scenario of the engine, small, on the embedded brokers and on real ones: all messages are accounted for."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mqproof.harness.crash.load import wait_for
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.target import Target
from mqproof.loadtests import scenarios
from mqproof.loadtests.scenarios.catalogue import SCENARIOS, names, stages_of, with_defaults
from mqproof.loadtests.settings import BadSettings, Settings

pytestmark = pytest.mark.whole_run

FAULTS = ("lost", "reordered", "corrupted", "unexpected", "confirmed_lost")
REPEATING = ("worker-crash", "alerts-qos1")  # at least once is what these promise
GENTLE = ("--rate", "300", "--duration", "1.4")
BEYOND_RABBITMQ = (("billing-qos2", "mqtt"), ("shared-subscription", "mqtt"))  # 3.1.1 at QoS 1 is what 3.10 offers
# Mosquitto 2.0.11 answers 200 QoS 2 messages that come at once and delivers 20, and a paced publisher that was held
# up by a busy machine sends at once what has become due.
FEW_IN_FLIGHT = ("--max-unconfirmed", "16")
# Long enough for what happens every so many seconds to happen though the machine stands still for two.
LASTING = ("--duration", "6")
CASES = [(name, protocol) for name, scenario in SCENARIOS.items() for protocol in scenario.protocols]


def load(*arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "mqproof.harness.cli", "load", *arguments, "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def accounted(name: str, target: Target, folder: Path, *options: str) -> dict[str, Any]:
    result = load(name, target.url, *GENTLE, *options, "--out", str(folder))
    assert {fault: result["ledger"][fault] for fault in FAULTS} == dict.fromkeys(FAULTS, 0)
    assert result["ledger"]["duplicated"] == 0 or name in REPEATING
    assert result["errors"] == {}
    assert result["metrics"]["delivered"] > 100
    assert result["metrics"]["latency_us"]["p50"] > 0
    return result


def test_each_scenario_is_a_locust_file_too() -> None:
    folder = Path(scenarios.__path__[0])
    assert [name for name in names() if not (folder / f"{name.replace('-', '_')}.py").is_file()] == []


@pytest.mark.parametrize(("name", "protocol"), CASES)
def test_scenario_on_the_embedded_broker(name: str, protocol: str, embedded: LocalBroker, tmp_path: Path) -> None:
    accounted(name, embedded.target(protocol), tmp_path)


def things(rabbitmq: Any) -> set[str]:
    """Return the names of the queues and exchanges that there are."""
    return {line for what in ("queues", "exchanges") for line in _names(rabbitmq, f"list_{what}")}


def _names(rabbitmq: Any, command: str) -> list[str]:
    return [f"{command} {line}" for line in rabbitmq.control("--silent", command, "name").splitlines()]


@pytest.mark.parametrize(("name", "protocol"), [case for case in CASES if case not in BEYOND_RABBITMQ])
def test_scenario_on_rabbitmq_leaves_nothing_behind(name: str, protocol: str, rabbitmq: Any, tmp_path: Path) -> None:
    before = things(rabbitmq)
    accounted(name, rabbitmq.target(protocol), tmp_path)
    # what ended with its connection is removed a moment after the connection, also that of an earlier test
    assert wait_for(lambda: things(rabbitmq) <= before, 30)


@pytest.mark.parametrize("name", [name for name, protocol in CASES if protocol == "mqtt"])
def test_scenario_on_mosquitto(name: str, mosquitto: LocalBroker, tmp_path: Path) -> None:
    accounted(name, mosquitto.target("mqtt"), tmp_path, *FEW_IN_FLIGHT)


@pytest.mark.parametrize(("broker", "protocol"), [("rabbitmq", "amqp"), ("mosquitto", "mqtt")])
def test_welcome_email_on_real_brokers(
    broker: str, protocol: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    target = request.getfixturevalue(broker).target(protocol)
    options = ("--users", "4", "--workers", "4", *LASTING, "--out", str(tmp_path))
    result = load("welcome-email", target.url, *options)
    assert {fault: result["ledger"][fault] for fault in (*FAULTS, "duplicated")} == dict.fromkeys(
        (*FAULTS, "duplicated"), 0
    )
    assert result["metrics"]["delivered"] == result["metrics"]["published"] > 20


def test_workers_that_crash_in_mid_task_cost_repeats_and_no_message(embedded: LocalBroker, tmp_path: Path) -> None:
    result = accounted("worker-crash", embedded.target("amqp"), tmp_path, *LASTING)
    assert result["counts"]["workers cut off in mid-task"] >= 1
    assert result["ledger"]["duplicated"] >= 1
    assert result["ledger"]["redelivered"] >= 1


@pytest.mark.parametrize("name", ["alerts-qos1", "billing-qos2"])
def test_publishers_that_reconnect_lose_nothing(name: str, mosquitto: LocalBroker, tmp_path: Path) -> None:
    result = accounted(name, mosquitto.target("mqtt"), tmp_path, *FEW_IN_FLIGHT, *LASTING)
    assert result["counts"]["publishers reconnected"] >= 4
    if name == "billing-qos2":
        assert result["ledger"]["duplicated"] == 0


def test_logs_reach_their_queues_and_no_others(embedded: LocalBroker, tmp_path: Path) -> None:
    result = accounted("log-routing", embedded.target("amqp"), tmp_path)
    assert result["metrics"]["published"] == result["metrics"]["delivered"]


def test_every_subscriber_of_a_fan_out_gets_its_copy(embedded: LocalBroker, tmp_path: Path) -> None:
    result = accounted("fan-out", embedded.target("mqtt"), tmp_path)
    assert result["metrics"]["delivered"] == 10 * result["metrics"]["published"]


def test_saturating_load_is_bounded_and_accounted_for(embedded: LocalBroker, tmp_path: Path) -> None:
    url = embedded.target("amqp").url
    result = load("throughput", url, *LASTING, "--window", "500", "--out", str(tmp_path))
    assert {fault: result["ledger"][fault] for fault in FAULTS} == dict.fromkeys(FAULTS, 0)
    assert result["metrics"]["published"] == result["metrics"]["confirmed"] > 500


def settings_for(name: str, url: str, **given: Any) -> Settings:
    return Settings(name, url, **with_defaults(name, given))


@pytest.mark.parametrize(
    ("name", "url", "given", "words"),
    [
        ("worker-crash", "mqtt://localhost", {}, "a scenario for amqp, not for mqtt"),
        ("billing-qos2", "mqtt://localhost", {"max_qos": 1}, "grants QoS 1 at most"),
        ("throughput", "mqtt://localhost", {"queue_type": "quorum"}, "AMQP's"),
    ],
)
def test_what_a_protocol_cannot_do_is_refused_with_the_reason(
    name: str, url: str, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadSettings, match=words):
        stages_of(settings_for(name, url, **given))


def test_a_spike_is_ten_times_the_ordinary_rate_for_a_fifth_of_the_time() -> None:
    (traffic,) = stages_of(settings_for("traffic-spike", "amqp://localhost", rate=50.0, duration=10.0))
    assert traffic.phases == ((4.0, 50.0), (2.0, 500.0), (4.0, 50.0))
