"""`mqproof load` end to end: what it measures, what it leaves behind, and how it fails."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from mqproof.harness.histograms import Latencies
from mqproof.harness.proxy.core import Passage, ProxyLoop
from mqproof.harness.reference.amqp.server import start_in_thread
from mqproof.harness.run import load as load_run
from mqproof.harness.targets.target import parse_url
from mqproof.loadtests import settings

BASIC_DELIVER = bytes([0, 60, 0, 60])
MQPROOF = (sys.executable, "-m", "mqproof.harness.cli")


def load(*arguments: str, timeout: float = 90) -> "subprocess.CompletedProcess[str]":
    command = (*MQPROOF, "load", *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("load")
    done = load(
        "welcome-email", "embedded", "--users", "4", "--workers", "4", "--duration", "1", "--json", "-",
        "--out", str(folder / "run"), "--max-lost", "0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return {**result, "folder": folder / "run", "said": done.stderr}


def both(embedded: dict[str, Any]) -> list[dict[str, Any]]:
    return [embedded, *embedded["others"]]


def test_both_protocols_are_loaded(embedded: dict[str, Any]) -> None:
    assert [entry["target"] for entry in both(embedded)] == ["embedded-amqp", "embedded-mqtt"]


def test_every_message_is_confirmed_and_delivered_once(embedded: dict[str, Any]) -> None:
    for entry in both(embedded):
        metrics, ledger = entry["metrics"], entry["ledger"]
        assert metrics["published"] == metrics["confirmed"] == metrics["delivered"] > 0
        faults = ("lost", "duplicated", "reordered", "corrupted", "unexpected", "unconfirmed_delivered")
        assert {name: ledger[name] for name in faults} == dict.fromkeys(faults, 0)


def test_metrics_have_the_promised_shape(embedded: dict[str, Any]) -> None:
    for entry in both(embedded):
        assert set(entry["metrics"]["latency_us"]) == {"p50", "p90", "p99", "p999", "max"}
        assert entry["metrics"]["publish_rate_msg_s"] > 0
        assert entry["metrics"]["delivery_rate_msg_s"] > 0
        assert 0 < entry["metrics"]["latency_us"]["p50"] <= entry["metrics"]["latency_us"]["max"]


def test_caller_that_sends_the_mail_itself_waits_for_the_work(embedded: dict[str, Any]) -> None:
    for entry in both(embedded):
        waited = entry["latencies_us"]["register, e-mail sent by the caller"]["p50"]
        assert waited >= entry["settings"]["work"] * 1_000_000


def test_run_directory_has_results_and_histograms(embedded: dict[str, Any]) -> None:
    run = load_run(embedded["folder"])
    assert run.complete
    assert [entry["target"] for entry in run.loads] == ["embedded-amqp", "embedded-mqtt"]
    file = embedded["folder"] / "histograms" / "welcome-email-embedded-amqp.json"
    histograms = json.loads(file.read_text())
    assert Latencies.from_plain(histograms["end to end"]).count == embedded["metrics"]["delivered"]


@pytest.mark.whole_run
def test_missed_threshold_is_exit_code_1_and_a_second_load_of_a_run_overwrites_no_file(tmp_path: Path) -> None:
    for _ in range(2):
        done = load(
            "welcome-email", "embedded-amqp", "--users", "1", "--duration", "1", "--min-rate", "100000",
            "--out", str(tmp_path),
        )  # fmt: skip
        assert done.returncode == 1
        assert "is missed" in done.stdout
    names = ["welcome-email-embedded-amqp-2.json", "welcome-email-embedded-amqp.json"]
    for folder in ("histograms", "ledgers"):
        assert sorted(path.name for path in (tmp_path / folder).iterdir()) == names


@pytest.mark.alike
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("welcom-email", "embedded"), 2, "did you mean welcome-email?"),
        (("welcome-email", "nonsense"), 2, "is no target"),
        (("welcome-email", "embedded", "--users", "0"), 2, "--users must be from 1 to"),
        (("welcome-email", "embedded", "--max-p99", "soon"), 2, "is no time"),
        (("welcome-email", "amqp://127.0.0.1:1"), 3, "nothing listens on port 1"),
    ],
)  # fmt: skip
def test_failure_is_one_line_and_a_code(arguments: tuple[str, ...], code: int, words: str) -> None:
    done = load(*arguments)
    assert done.returncode == code
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_interruption_ends_with_the_results_so_far(tmp_path: Path) -> None:
    broker, delivered = start_in_thread(), threading.Event()

    class Watch(Passage):
        def from_broker(self, octets: bytes) -> None:
            if BASIC_DELIVER in octets:
                delivered.set()
            super().from_broker(octets)

    with ProxyLoop() as loop:
        port = loop.proxy(parse_url(f"amqp://127.0.0.1:{broker.port}"), Watch).port
        process = subprocess.Popen(
            [*MQPROOF, "load", "welcome-email", f"amqp://127.0.0.1:{port}", "--duration", "60", "--users", "2",
             "--out", str(tmp_path)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert delivered.wait(30)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    broker.stop()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    entry = load_run(tmp_path).loads[0]
    assert (entry["interrupted"], entry["ledger"]["lost"]) == (True, 0)


@pytest.mark.whole_run
def test_scenario_is_a_plain_locust_file() -> None:
    broker = start_in_thread()
    try:
        file = Path(welcome_email_file())
        done = subprocess.run(
            [sys.executable, "-m", "locust", "-f", str(file), "-H", f"amqp://127.0.0.1:{broker.port}",
             "--headless", "-u", "2", "-r", "2", "-t", "6s"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        broker.stop()
    assert done.returncode == 0, done.stderr
    assert "register, e-mail queued" in done.stdout + done.stderr
    assert "'lost': 0" in done.stderr


def welcome_email_file() -> str:
    """Return the file without importing it: Locust patches whatever imports it."""
    return str(Path(settings.__file__).parent / "scenarios" / "welcome_email.py")
