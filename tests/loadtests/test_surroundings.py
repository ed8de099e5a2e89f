"""Load beside what belongs to it: TLS, the broker's own statistics, Locust's pages and command, workloads, --watch."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from mqproof.harness.crash.load import wait_for
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.loadtests import settings
from mqproof.loadtests.counters import from_url

pytestmark = pytest.mark.whole_run

Load = Callable[..., dict[str, Any]]
FreePort = Callable[[], int]
COMMAND = (sys.executable, "-m", "mqproof.harness.cli", "load")
SHORT = ("--rate", "200", "--duration", "1")
FAULTS = ("lost", "duplicated", "corrupted", "unexpected")


def faults(result: dict[str, Any]) -> dict[str, int]:
    return {name: result["ledger"][name] for name in FAULTS if result["ledger"][name]}


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except OSError:
        return False
    return True


@pytest.fixture
def tls_mosquitto(certificates: Path, tmp_path: Path, free_port: FreePort) -> Iterator[str]:
    """A mosquitto that speaks TLS only; its URL."""
    port, file = free_port(), tmp_path / "mosquitto.conf"
    for key in certificates.iterdir():
        key.chmod(0o644)
    for folder in (certificates, *certificates.parents):
        folder.chmod(folder.stat().st_mode | 0o011)
    file.write_text(
        f"user root\nlistener {port} 127.0.0.1\nallow_anonymous true\ncafile {certificates}/ca.pem\n"
        f"certfile {certificates}/server.pem\nkeyfile {certificates}/server.key\n"
    )
    with subprocess.Popen(["mosquitto", "-c", str(file)], stderr=subprocess.DEVNULL) as process:
        assert wait_for(lambda: _listens(port), 60)
        yield f"mqtts://localhost:{port}"
        process.terminate()


@pytest.mark.parametrize("scenario", ["throughput", "fleet-tracker"])
def test_load_goes_over_tls(scenario: str, tls_mosquitto: str, certificates: Path, load: Load, tmp_path: Path) -> None:
    options = ("--users", "5", *SHORT, "--ca-file", certificates / "ca.pem", "--out", tmp_path / "run")
    result = load(scenario, tls_mosquitto, *options)
    assert faults(result) == {}
    assert (result["errors"], result["counts"].get("devices that the broker disconnected", 0)) == ({}, 0)
    assert result["metrics"]["delivered"] == result["metrics"]["published"] >= 200


def test_rabbitmqs_statistics_are_read_where_they_are(load: Load, tmp_path: Path, free_port: FreePort) -> None:
    management, prometheus = free_port(), free_port()
    options = {
        "plugins": "rabbitmq_management,rabbitmq_prometheus", "management.tcp.ip": "127.0.0.1",
        "management.tcp.port": str(management), "prometheus.tcp.ip": "127.0.0.1",
        "prometheus.tcp.port": str(prometheus),
    }  # fmt: skip
    with DRIVERS["rabbitmq"].start(["amqp"], options=options) as broker:
        urls = f"http://guest:guest@127.0.0.1:{management}", f"http://127.0.0.1:{prometheus}/metrics"
        for number, url in enumerate(urls):
            assert wait_for(lambda url=url: from_url(url)["broker_memory"] > 10e6, 30)  # it takes its time to measure
            assert {"connections", "depth", "broker_memory", "dropped"} <= set(from_url(url))
            result = load(
                "throughput", broker.target("amqp").url, *SHORT, "--stats-url", url, "--out", tmp_path / str(number)
            )
            assert result["broker"]["errors"] == []
            assert "statistics endpoint" in result["broker"]["watched_by"]
            assert "guest:guest" not in (tmp_path / str(number) / "run.json").read_text()


def test_statistics_that_cannot_be_read_are_told(embedded: LocalBroker, mqproof: Any, tmp_path: Path) -> None:
    url = embedded.target("amqp").url
    done = mqproof("load", "throughput", url, *SHORT, "--stats-url", "http://127.0.0.1:1", "--out", tmp_path)
    assert done.returncode == 0
    assert "watching the broker: URLError" in done.stdout


def get(url: str, data: bytes | None = None) -> str:
    """Return a page, or nothing where nobody answers yet."""
    try:
        with urlopen(Request(url, data=data), timeout=60) as answer:
            text: str = answer.read().decode()
            return text
    except (URLError, OSError):
        return ""


def test_locusts_page_starts_the_run_and_shows_its_numbers(
    embedded: LocalBroker, tmp_path: Path, free_port: FreePort
) -> None:
    port = free_port()
    command = [*COMMAND, "throughput", embedded.target("mqtt").url, "--rate", "200", "--duration", "10",
               "--web-port", str(port), "--out", str(tmp_path)]  # fmt: skip
    page = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert wait_for(lambda: "Locust" in get(page), 60)
        assert "success" in get(f"{page}/swarm", b"user_count=2&spawn_rate=2")
        shown = wait_for(lambda: bool(re.search(r'"num_requests": [1-9]', get(f"{page}/stats/requests"))), 30)
        said = process.communicate(timeout=90)[0]
    assert shown
    assert process.returncode == 0
    assert "2,000 published, 2,000 confirmed, 2,000 delivered" in said


def test_engine_scenario_is_a_plain_locust_file(embedded: LocalBroker, tmp_path: Path) -> None:
    file = Path(settings.__file__).parent / "scenarios" / "throughput.py"
    done = subprocess.run(
        [sys.executable, "-m", "locust", "-f", str(file), "-H", embedded.target("amqp").url, "--headless",
         "-u", "2", "-r", "2", "-t", "4s", "--rate", "100", "--html", str(tmp_path / "report.html")],
        capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "'lost': 0" in done.stderr
    assert "end to end" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize("name", ["order-processing", "home-automation"])
def test_workload_runs_as_a_scenario(name: str, embedded: LocalBroker, load: Load, tmp_path: Path) -> None:
    protocol = "amqp" if name == "order-processing" else "mqtt"
    options = ("--workload", name, "--users", "3", "--duration", "2", "--out", tmp_path)
    result = load(embedded.target(protocol).url, *options)
    assert faults(result) == {}
    assert result["metrics"]["delivered"] >= 1


def test_watch_tells_who_could_not_work_while_the_broker_was_away(tmp_path: Path, free_port: FreePort) -> None:
    """The broker is killed and started anew; the watch goes on until it is interrupted, and that is no failure.

    What it had confirmed may go with it: it keeps its sessions in memory.
    """
    metrics = free_port()
    with DRIVERS["mosquitto"].start(["mqtt"]) as broker:
        command = [*COMMAND, "--watch", broker.target("mqtt").url, "--metrics-port", str(metrics), "--out",
                   str(tmp_path), "--json", str(tmp_path / "result"), "--max-lost", "1000"]  # fmt: skip

        def received() -> int:
            match = re.search(r"^mqproof_received_total (\d+)", get(f"http://127.0.0.1:{metrics}/metrics"), re.M)
            return int(match[1]) if match else 0

        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as run:
            assert wait_for(lambda: received() > 20, 60)
            broker.kill()
            before = received()
            broker.restart()
            assert wait_for(lambda: received() > before + 40, 60)
            os.killpg(run.pid, signal.SIGINT)
            _, said = run.communicate(timeout=90)
    assert run.returncode == 0, said
    result = json.loads((tmp_path / "result").read_text())
    assert set(result["unavailability"]) == {"publisher 1", "publisher 2", "consumer 1"}
    assert result["interrupted"] is False
    assert result["errors"]
    assert result["broker"]["errors"] == []


def test_memory_of_ours_is_bounded_while_the_broker_stands_still(tmp_path: Path, free_port: FreePort) -> None:
    """Nobody reads for some seconds, while thirty thousand messages a second are due."""
    metrics = free_port()

    def total(name: str) -> int:
        match = re.search(rf"^mqproof_{name} (\d+)", get(f"http://127.0.0.1:{metrics}/metrics"), re.M)
        return int(match[1]) if match else 0

    with DRIVERS["mosquitto"].start(["mqtt"]) as broker:
        options = ("--qos", "0", "--rate", "30000", "--duration", "8", "--metrics-port", str(metrics))
        written = ("--out", str(tmp_path), "--json", str(tmp_path / "result"))
        command = [*COMMAND, "throughput", broker.target("mqtt").url, *options, *written]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as run:
            assert wait_for(lambda: total("received_total") > 10_000, 60)
            broker.pause()
            stood = wait_for(lambda: _stands(total), 20)
            broker.resume()
            _, said = run.communicate(timeout=120)
    assert stood
    assert run.returncode == 0, said
    rows = json.loads((tmp_path / "result").read_text())["stages"][0]["timeline"]
    memory = [row["our_memory"] for row in rows if "our_memory" in row]
    assert max(memory) - memory[0] < 60e6  # compiled kernels and libraries that come late among them


def _stands(total: Callable[[str], int]) -> bool:
    """Return whether nothing more is published."""
    before = total("published_total")
    return before > 0 and not wait_for(lambda: total("published_total") > before, 3)


def test_a_connection_that_is_idle_costs_a_few_kilobytes(load: Load, tmp_path: Path) -> None:
    """So that ten thousand of one process stay below 300 MB."""
    peaks = []
    with DRIVERS["mosquitto"].start(["mqtt"]) as broker:
        for users in (100, 2100):
            result = load(
                "idle-connections", broker.target("mqtt").url, "--users", users, "--duration", "1.5",
                "--out", tmp_path / str(users),
            )  # fmt: skip
            assert faults(result) == {}
            assert result["metrics"]["delivered"] == users
            peaks.append(result["stages"][0]["broker"]["our_memory_peak"])
    assert (peaks[1] - peaks[0]) / 2000 < 12_000
