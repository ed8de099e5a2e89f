"""Load from several processes and several hosts: the ledger is that of one, and who dies takes no blame along."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from mqproof.dissectors.mqtt.codec import Publish
from mqproof.harness.cli.codes import DEVIATES
from mqproof.harness.ledger import UNEXPLAINED, WORKER_DIED
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.saboteur.core import MqttConn, MqttFault, MqttResult, passage_for
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.loadtests.messages import read

pytestmark = pytest.mark.whole_run

Load = Callable[..., dict[str, Any]]
STEADY = ("--users", "8", "--queues", "4", "--rate", "800", "--duration", "2")
MQPROOF = (sys.executable, "-m", "mqproof.harness.cli", "load", "throughput")


class LosesSome(MqttFault):
    """Loses the same messages in every run: every fiftieth of each publisher; and changes one of a hundred."""

    def from_client(self, packet: Any, conn: MqttConn) -> MqttResult:
        stamp = read(packet.payload) if isinstance(packet, Publish) else None
        if stamp is None:
            return None
        if stamp.sequence % 100 == 3:
            return [replace(packet, payload=bytes(len(packet.payload)))]
        return [] if stamp.sequence % 50 == 7 else None


def books(folder: Path) -> dict[str, Any]:
    (file,) = (folder / "ledgers").iterdir()
    data = json.loads(file.read_text())
    return {
        "publishers": sorted(data["publishers"]),
        "arrivals": sorted(row[:4] for row in data["arrivals"]),  # the rest is the order on each connection
        "counts": data["counts"],
    }


def test_ledger_of_four_workers_is_that_of_one_process(embedded: LocalBroker, load: Load, tmp_path: Path) -> None:
    with ProxyLoop() as loop:
        url = loop.proxy(embedded.target("mqtt"), passage_for(LosesSome())).target.url
        steady = ("throughput", url, *STEADY, "--qos", "0")
        alone = load(*steady, "--out", tmp_path / "one", code=DEVIATES)
        spread = load(*steady, "--processes", "4", "--out", tmp_path / "four", code=DEVIATES)
    assert alone["ledger"] == spread["ledger"]
    assert books(tmp_path / "one") == books(tmp_path / "four")
    assert alone["ledger"]["published"] == 1600
    assert alone["ledger"]["lost_by_cause"] == {UNEXPLAINED: 8 * (4 + 2)}
    assert spread["workers"]["count"] == 4
    for name in ("published", "delivered"):
        assert spread["metrics"][name] == alone["metrics"][name]


def test_saturating_workers_lose_nothing(embedded: LocalBroker, load: Load, tmp_path: Path) -> None:
    url = embedded.target("amqp").url
    result = load(
        "throughput", url, "--users", "4", "--queues", "2", "--duration", "2", "--window", "400", "--processes", "2",
        "--out", tmp_path,
    )  # fmt: skip
    assert result["ledger"]["lost_by_cause"] == {}
    assert result["metrics"]["published"] == result["metrics"]["confirmed"] == result["metrics"]["delivered"] > 400


def workers_below(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    (master,) = filter(_is_runner, psutil.Process(process.pid).children())
    return list(filter(_is_runner, master.children()))


def _is_runner(process: psutil.Process) -> bool:
    return "mqproof.loadtests.runner" in process.cmdline()


def test_messages_of_a_worker_that_died_are_not_lost_by_the_broker(mosquitto: LocalBroker, tmp_path: Path) -> None:
    arguments = ("--users", "6", "--queues", "3", "--rate", "300", "--duration", "12", "--processes", "3", "--qos", "0")
    written = ("--json", str(tmp_path / "result"), "--out", str(tmp_path))
    command = [*MQPROOF, mosquitto.target("mqtt").url, *arguments, *written]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        connected: list[psutil.Process] = []
        while not connected and process.poll() is None:
            talking = _connected_to(mosquitto.target("mqtt").port)
            connected = [worker for worker in _safely(process) if worker.pid in talking]
            time.sleep(0.1)  # noqa: TID251 - polls what no event tells
        assert connected, process.communicate(timeout=60)
        time.sleep(1.5)  # noqa: TID251 - lets it publish for a while
        connected[0].kill()
        process.communicate(timeout=120)
    result = json.loads((tmp_path / "result").read_text())
    assert len(result["workers"]["lost"]) == 1
    assert result["counts"]["workers of ours that died"] == 1
    assert set(result["ledger"]["lost_by_cause"]) <= {WORKER_DIED}
    assert result["ledger"]["unexpected"] == 0
    assert result["metrics"]["delivered"] > 500


def _connected_to(port: int) -> set[int | None]:
    """Return the processes that have a connection to a port."""
    return {each.pid for each in psutil.net_connections("tcp") if each.raddr and each.raddr[1] == port}


def _safely(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    try:
        return workers_below(process)
    except (ValueError, psutil.Error):
        return []


NAMES = [f"mqpt{os.getpid() % 10000}{index}" for index in range(3)]
BRIDGE = f"mqpb{os.getpid() % 10000}"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=20)


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Three network namespaces on one bridge, 10.231.7.1 to .3; they are gone afterwards."""
    if os.geteuid():
        pytest.skip("network namespaces take root")
    try:
        ip("link", "add", BRIDGE, "type", "bridge")
        ip("link", "set", BRIDGE, "up")
        for index, name in enumerate(NAMES):
            ip("netns", "add", name)
            ip("link", "add", f"{name}v", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"{name}v", "master", BRIDGE, "up")
            ip("-n", name, "addr", "add", f"10.231.7.{index + 1}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield NAMES
    finally:
        for name in NAMES:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False, timeout=20)
        subprocess.run(["ip", "link", "del", BRIDGE], capture_output=True, check=False, timeout=20)


def test_hosts_whose_clocks_differ(hosts: list[str], tmp_path: Path) -> None:
    """A master with the broker on one host, a worker on each of two others, one of which has another clock."""
    script = tmp_path / "broker.conf"
    script.write_text("listener 21883 10.231.7.1\nallow_anonymous true\n")
    url = "mqtt://10.231.7.1:21883"
    steady = ("--users", "4", "--queues", "2", "--rate", "200", "--duration", "3", "--yes-load-this-broker")
    lead = ("--master", "--master-port", "25557", "--expect-workers", "2", "--json", str(tmp_path / "result"))
    follow = ("--worker", "--master-host", "10.231.7.1", "--master-port", "25557")
    elsewhere = ("unshare", "--time", "--monotonic", "5000", "--fork", "--kill-child")
    commands = [
        ("ip", "netns", "exec", hosts[0], "mosquitto", "-c", str(script)),
        ("ip", "netns", "exec", hosts[0], *MQPROOF, url, *steady, *lead, "--out", str(tmp_path)),
        ("ip", "netns", "exec", hosts[1], *MQPROOF, url, *steady, *follow),
        ("ip", "netns", "exec", hosts[2], *elsewhere, *MQPROOF, url, *steady, *follow),
    ]
    running = []
    try:
        for command in commands:
            running.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
            if len(running) == 1:
                assert any(line.endswith(" running\n") for line in running[0].stderr)  # it says so when it listens
        shown, said = running[1].communicate(timeout=120)
        assert running[1].returncode == 0, said
        assert "waiting for 2 workers on port 25557" in shown
        assert [process.wait(timeout=60) for process in running[2:]] == [0, 0]
    finally:
        for process in running:
            process.kill()
            process.communicate()
    result = json.loads((tmp_path / "result").read_text())
    assert result["ledger"]["lost_by_cause"] == {}
    assert result["metrics"]["published"] == result["metrics"]["delivered"] == 600
    offsets = [abs(clock["offset_us"]) for clock in result["workers"]["clocks"].values()]
    assert sorted(offset > 1_000_000_000 for offset in offsets) == [False, True]
    assert 0 < result["metrics"]["latency_us"]["p50"] < 5_000_000
