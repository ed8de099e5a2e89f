"""A run leaves nothing behind: no process, no folder, and on somebody else's broker no name of ours."""

import json
import os
import re
import signal
import subprocess
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from mqproof.dissectors.mqtt import codec as mqtt
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.targets.deadline import Deadline
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.drivers.rabbitmq import RabbitBroker
from mqproof.harness.targets.talk import Talk
from mqproof.harness.targets.target import Target

pytestmark = pytest.mark.whole_run

Command = Callable[..., subprocess.CompletedProcess[str]]
VANISH_SECONDS = 30.0
JUDGED = (0, 1, 5)  # exit codes of runs that came to their end; a busy machine leaves something inconclusive
MQPROOF = Path(sysconfig.get_path("scripts")) / "mqproof"
RABBITMQ_LISTS = {
    "list_queues": ("name",),
    "list_exchanges": ("name",),
    "list_bindings": ("source_name", "destination_name", "routing_key"),
    "list_connections": ("name",),
    "list_consumers": ("queue_name",),
    "list_policies": (),
}


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """Run ``mqproof test`` until its first tests have ended; yield it and every process below it."""
    folder.mkdir(exist_ok=True)
    command = [str(MQPROOF), "test", *arguments, "--out", str(folder / "run")]
    with subprocess.Popen(
        command, cwd=folder, env={**os.environ, "TMPDIR": str(folder)}, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert "tests" in line, line + process.stdout.read()
            yield process, psutil.Process(process.pid).children(recursive=True)
        finally:
            process.kill()


def local_folders(folder: Path) -> list[Path]:
    return sorted(folder.glob("mqproof-*-*"))


@pytest.mark.parametrize(
    "target",
    ["embedded", *(pytest.param(name, marks=pytest.mark.real_broker) for name in ("rabbitmq", "mosquitto"))],
)
@pytest.mark.parametrize("options", [(), ("--record",)], ids=["plain", "recorded"])
def test_sigkill_in_the_middle_leaves_no_process_and_no_folder(
    target: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    with running(tmp_path, target, *options) as (process, descendants):
        assert local_folders(tmp_path)
        assert len(descendants) >= 4  # reaper, broker and two workers
        process.send_signal(signal.SIGKILL)
        process.wait(VANISH_SECONDS)
        left = psutil.wait_procs(descendants, timeout=VANISH_SECONDS)[1]
    assert left == []
    assert local_folders(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_so_and_keeps_what_there_is(number: signal.Signals, tmp_path: Path) -> None:
    with running(tmp_path, "embedded") as (process, descendants):
        process.send_signal(number)
        said = process.communicate(timeout=60)[0]
        left = psutil.wait_procs(descendants, timeout=VANISH_SECONDS)[1]
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "interrupted" in said
    assert left == []
    assert local_folders(tmp_path) == []
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert not run["complete"]
    assert 0 < len(run["tests"]) < run["planned"]


def rabbitmq_state(broker: RabbitBroker) -> dict[str, list[str]]:
    """Return everything that clients can leave in a RabbitMQ, sorted."""
    return {
        command: sorted(broker.control("--silent", command, *columns).splitlines())
        for command, columns in RABBITMQ_LISTS.items()
    }


def retained(target: Target) -> list[str]:
    """Return the topics that hold a retained message."""
    with Talk(target, Deadline.within(20)) as talk:
        decoder = mqtt.Decoder(Version.V3_1_1)
        connect = mqtt.Connect("leftovers", user_name=target.user, password=(target.password or "").encode())
        login = connect if target.user else mqtt.Connect("leftovers")
        for packet in (login, mqtt.Subscribe(1, (mqtt.Subscription("#"),)), mqtt.Pingreq()):
            talk.send(mqtt.encode(packet, Version.V3_1_1))
        topics = []
        while True:
            octets = talk.receive()
            assert octets, "the broker closed the connection"
            decoder.feed(octets)
            while (packet := decoder.next()) is not None:
                if isinstance(packet, mqtt.Publish):
                    topics.append(packet.topic)
                if isinstance(packet, mqtt.Pingresp):
                    return topics


def test_rabbitmq_is_as_it_was_after_two_runs(rabbitmq: RabbitBroker, mqproof: Command, tmp_path: Path) -> None:
    before = rabbitmq_state(rabbitmq)
    tests = []
    for number in (1, 2):
        out = tmp_path / f"{number}.json"
        urls = [target.url for target in rabbitmq.targets]
        done = mqproof("test", *urls, "--json", out, "--out", tmp_path / str(number), seconds=300, cwd=tmp_path)
        assert done.returncode in JUDGED, done.stdout + done.stderr
        run = json.loads(out.read_text())
        assert run["complete"]
        tests.append(sorted((test["id"], test["target"]) for test in run["tests"]))
        assert rabbitmq_state(rabbitmq) == before
        assert retained(rabbitmq.target("mqtt")) == []
    assert tests[0] == tests[1]


def settle_in(target: Target) -> None:
    """Leave a session, a subscription and a retained message of somebody else's at an MQTT broker."""
    subscribe = mqtt.Subscribe(1, (mqtt.Subscription("neighbour/all", 1),))
    publish = mqtt.Publish("neighbour/cellar", b"cold", 1, retain=True, packet_id=2)
    with Talk(target, Deadline.within(5)) as talk:
        decoder = mqtt.Decoder(Version.V3_1_1)
        for packet in (mqtt.Connect("neighbour", clean_start=False), subscribe, publish):
            talk.send(mqtt.encode(packet, Version.V3_1_1))
        while not isinstance(answer := decoder.next(), mqtt.Puback):
            if answer is None:
                octets = talk.receive()
                assert octets, "the broker closed the connection"
                decoder.feed(octets)


@pytest.mark.real_broker
def test_mosquitto_is_as_it_was_after_two_runs(mqproof: Command, tmp_path: Path) -> None:
    with DRIVERS["mosquitto"].start() as broker:
        target = broker.targets[0]
        settle_in(target)
        for number in (1, 2):
            out = tmp_path / str(number)
            done = mqproof("test", target.url, "--prefix", "leftover", "--out", out, seconds=300, cwd=tmp_path)
            assert done.returncode in JUDGED, done.stdout + done.stderr
            assert retained(target) == ["neighbour/cellar"]
        broker.shut_down()
        database = (broker.folders[0] / "mosquitto.db").read_bytes()
    for kept in (b"neighbour/all", b"neighbour/cellar"):  # what is kept stands in clear in it
        assert kept in database
    assert re.findall(rb"leftover[\w-]*", database) == []


def test_the_embedded_brokers_forget_nothing_of_others(embedded: LocalBroker, mqproof: Command, tmp_path: Path) -> None:
    """What somebody else put there is still there after a run, and nothing more."""
    target = embedded.target("mqtt")
    settle_in(target)
    done = mqproof("test", target.url, "--quick", "--out", tmp_path / "run", seconds=300, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert retained(target) == ["neighbour/cellar"]
