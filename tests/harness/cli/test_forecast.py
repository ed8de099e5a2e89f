"""``mqproof forecast``, and the workloads that ``mqproof analyze --workload-out`` writes for it."""

import json
import subprocess
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from mqproof.harness.workload import read

Mqproof = Callable[..., subprocess.CompletedProcess[str]]
CAPTURES = Path(__file__).parents[3] / "captures"
SCHEMA = json.loads(files("mqproof.harness").joinpath("forecast.schema.json").read_text())


@pytest.fixture
def mqproof(mqproof_here: Mqproof) -> Mqproof:
    return mqproof_here


def forecast_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(result, SCHEMA)
    return result


def day(result: dict[str, Any], way: str) -> int:
    found: int = next(row for row in result["rows"] if row["way"] == way)["device_day"]["bytes"]
    return found


def test_messages_as_described(mqproof: Mqproof) -> None:
    result = forecast_of(mqproof("forecast", "--payload", 100, "--rate", "0.1", "--topic-length", 10, "--json"))
    assert day(result, "MQTT QoS 0") == 8640 * (66 + 2 + 2 + 10 + 100 + 66)
    ways = [row["way"] for row in result["rows"]]
    assert ways == [
        "MQTT QoS 0", "MQTT QoS 1", "MQTT QoS 2", "AMQP, no acks", "AMQP, confirms + acks",
        "HTTP POST, one connection", "HTTP POST, one each",
    ]  # fmt: skip


def test_a_named_workload_in_tables_that_fit(mqproof: Mqproof) -> None:
    done = mqproof("forecast", "--workload", "dog-gps", "--bill-round-up", 1024, "--bill-period", "day")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "HTTPS POST" in done.stdout
    assert "rounded up to 1,024 octets for each device 30 times a month" in " ".join(done.stdout.split())
    result = forecast_of(mqproof("forecast", "--workload", "dog-gps", "--json"))
    assert (result["conditions"]["devices"], result["conditions"]["tls"]) == (1000, "1.3")
    assert result["rows"][0]["way"] == "MQTT, QoS as given"


def test_a_workload_file_of_a_capture_gives_the_same_forecast(mqproof: Mqproof, tmp_path: Path) -> None:
    capture, path = CAPTURES / "mqtt-overhead-qos1.pcapng", tmp_path / "traffic.toml"
    done = mqproof("analyze", capture, "--workload-out", path)
    assert done.returncode == 0, done.stderr
    workload = read(str(path))
    flow = workload.flows[0]
    assert [size for size, _ in flow.payload] == [0, 16, 64, 256, 1024, 4096]
    assert (len(flow.topic), flow.qos, flow.subscribers, workload.protocol) == (9, 1, 1.0, "mqtt")
    assert "sensors" not in path.read_text()
    direct = forecast_of(mqproof("forecast", "--from", capture, "--json"))
    through = forecast_of(mqproof("forecast", "--workload", path, "--json"))
    assert through["rows"] == direct["rows"]


def test_an_account_can_be_forecast_from(mqproof: Mqproof, tmp_path: Path) -> None:
    account = tmp_path / "account.json"
    account.write_text(mqproof("analyze", CAPTURES / "amqp-messages.pcapng", "--json").stdout)
    result = forecast_of(mqproof("forecast", "--from", account, "--json", "--devices", 7))
    assert result["conditions"]["devices"] == 7
    amqp = next(row for row in result["rows"] if row["way"] == "AMQP, confirms + acks")
    assert amqp["bytes_per_message"] == 66 + 17 + 12 + 22 + 8 + 100 + 66 + 21 + 66  # the key has 12 octets on average


def test_devices_are_found_by_what_differs_in_their_topics(mqproof: Mqproof, tmp_path: Path) -> None:
    done = mqproof("analyze", CAPTURES / "mqtt-5.0.pcapng", "--workload-out", tmp_path / "w.toml")
    assert done.returncode == 0, done.stderr
    workload = read(str(tmp_path / "w.toml"))
    assert [flow.qos for flow in workload.flows] == [0, 1, 2]
    assert {flow.topic for flow in workload.flows} == {"aaaa/bbbbb", "bbbb/ccccc", "cccc/ddddd"}
    assert {flow.properties for flow in workload.flows} == {14}
    assert {flow.subscribers for flow in workload.flows} == {1.0}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "say what to forecast"),
        (["--workload", "dog-gps", "--payload", "1", "--rate", "1"], "say what to forecast"),
        (["--payload", "1"], "belong together"),
        (["--workload", "doggps"], "the named workloads are dog-gps"),
        (["--workload", "dog-gps", "--tls", "1.1"], "--tls must be 1.2, 1.3 or none"),
        (["--workload", "dog-gps", "--bill-period", "year"], "--bill-period must be"),
        (["--from", "/nowhere"], "cannot read /nowhere"),
        (["--from", __file__], "is no pcap or pcapng file"),
        (["--from", str(CAPTURES / "mqtt-large-connect.pcapng")], "there is no traffic"),
    ],
)
def test_what_makes_no_sense_gets_one_line(mqproof: Mqproof, options: list[str], complaint: str) -> None:
    done = mqproof("forecast", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_account_that_is_none_gets_one_line(mqproof: Mqproof, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    for text in ("{", "{}", '{"duration_s": "x"}'):
        path.write_text(text)
        done = mqproof("forecast", "--from", path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "is no account of mqproof analyze --json" in done.stderr
