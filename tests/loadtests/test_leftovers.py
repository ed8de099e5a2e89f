"""Nothing of ours stays on a broker: also after a crash, at the next start or by ``mqproof clean``."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mqproof.harness.crash.load import wait_for
from mqproof.harness.ledger import IN_FLIGHT
from mqproof.harness.proxy.core import Passage, ProxyLoop
from mqproof.harness.targets.drivers import DRIVERS

pytestmark = pytest.mark.whole_run
BASIC_DELIVER = bytes([0, 60, 0, 60])
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def queues_of(cache: Path) -> list[str]:
    """Return the queues in the journal of the run that uses this cache."""
    found = list((cache / "mqproof" / "load").glob("*"))
    things = json.loads(found[0].read_text())["things"] if found else []
    return [name for kind, name in things if kind == "queue"]


def test_what_a_killed_run_left_is_removed_by_clean(rabbitmq: Any, mqproof: Command, tmp_path: Path) -> None:
    """The queue is durable: another one would go with its last consumer, sooner or later."""
    before = set(rabbitmq.control("--silent", "list_queues", "name").splitlines())
    cache = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    started = threading.Event()

    class Watch(Passage):
        def from_broker(self, octets: bytes) -> None:
            if BASIC_DELIVER in octets:
                started.set()
            super().from_broker(octets)

    with ProxyLoop() as loop:
        target = loop.proxy(rabbitmq.target("amqp"), Watch).target
        process = subprocess.Popen(
            [sys.executable, "-m", "mqproof.harness.cli", "load", "throughput", target.url, "--rate", "50",
             "--persistent", "--duration", "60", "--out", str(tmp_path / "run")],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, env=cache,
        )  # fmt: skip
        assert started.wait(60)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        (journal,) = (tmp_path / "cache" / "mqproof" / "load").iterdir()
        assert (target.password or "guest:guest@") not in journal.read_text().replace("mqproof", "")
        (queue,) = queues_of(tmp_path / "cache")
        assert queue in rabbitmq.control("--silent", "list_queues", "name").split()
        done = mqproof("clean", target.url, env=cache)
        assert done.returncode == 0, done.stderr
        assert "1 things of crashed runs removed" in done.stdout
        assert mqproof("clean", target.url, env=cache).stdout.startswith("0 things")
    assert wait_for(lambda: set(rabbitmq.control("--silent", "list_queues", "name").splitlines()) <= before, 30)
    assert not journal.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [(("embedded",), 2, "keeps nothing"), (("nonsense",), 2, "is no target"), (("amqp://127.0.0.1:1",), 3, "port 1")],
)
def test_clean_says_what_is_wrong_in_one_line(
    mqproof: Command, arguments: tuple[str, ...], code: int, words: str
) -> None:
    done = mqproof("clean", *arguments)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1)
    assert words in done.stderr


def test_a_broker_that_stalls_is_not_accused(tmp_path: Path) -> None:
    """The broker stops reading and answering for good: what it had not confirmed is in flight, no more is lost."""
    delivering = threading.Event()

    class Watch(Passage):
        def from_broker(self, octets: bytes) -> None:
            if b"MQP1" in octets:
                delivering.set()
            super().from_broker(octets)

    with DRIVERS["mosquitto"].start() as broker, ProxyLoop() as loop:
        url = loop.proxy(broker.target("mqtt"), Watch).target.url
        written = ("--json", str(tmp_path / "result"), "--out", str(tmp_path))
        command = [sys.executable, "-m", "mqproof.harness.cli", "load", "throughput", url, "--duration", "4", *written]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert delivering.wait(60)
        broker.pause()
        _, said = process.communicate(timeout=150)
        broker.resume()
    assert process.returncode == 3, said
    assert "the broker is gone, or does not answer any more" in said
    result = json.loads((tmp_path / "result").read_text())
    assert set(result["ledger"]["lost_by_cause"]) == {IN_FLIGHT}
    assert result["ledger"]["confirmed_lost"] == 0
