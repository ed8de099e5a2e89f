"""``mqproof sabotage`` from outside: the same seed does the same, --repeat too, and nonsense is refused in a line."""

import json
import subprocess
import sys
from pathlib import Path

import pika
import pytest
from mqproof.harness.targets.target import Target

COMMAND = [sys.executable, "-P", "-m", "mqproof.harness.cli", "sabotage"]


def run(target: Target, folder: Path, *words: str) -> str:
    """Consume forty messages through the command; return what it printed."""
    with subprocess.Popen(
        [*COMMAND, target.url, "--out", str(folder), "--for", "60s", *words], stdout=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        port = int(command.stdout.readline().partition(";")[0].rpartition(":")[2])
        url = target.with_(port=port).url
        with pika.BlockingConnection(pika.URLParameters(url)) as connection:
            channel = connection.channel()
            channel.queue_declare("orders")
            for number in range(40):
                channel.basic_publish("", "orders", b"%d" % number)
            while channel.basic_get("orders", auto_ack=True)[0]:
                pass
            channel.queue_delete("orders")
        command.terminate()
        rest = command.stdout.read()
    assert command.returncode == 0
    return rest


def met(folder: Path) -> list[tuple[str, str, int]]:
    events = [json.loads(line) for line in (folder / "transcript.jsonl").read_text().splitlines()]
    return [(event["fault"], event["route"], event["number"]) for event in events if event["fault"]]


def test_the_same_seed_does_the_same_and_so_does_repeat(amqp_target: Target, tmp_path: Path) -> None:
    words = ["--fault", "duplicate-delivery", "--fault", "lost-publish", "--probability", "0.2"]
    only = ["--only", "queue=orders"]
    said = run(amqp_target, tmp_path / "a", *words, *only, "--seed", "7")
    run(amqp_target, tmp_path / "b", *words, *only, "--seed", "7")
    run(amqp_target, tmp_path / "c", *words, *only, "--seed", "8")
    run(amqp_target, tmp_path / "d", "--repeat", str(tmp_path / "a"))
    assert met(tmp_path / "a")
    assert met(tmp_path / "a") == met(tmp_path / "b") == met(tmp_path / "d")
    assert met(tmp_path / "a") != met(tmp_path / "c")
    assert said.count("lost-publish: publish exchange= key=orders #") == sum(
        name == "lost-publish" for name, _, _ in met(tmp_path / "a")
    )
    run_json = json.loads((tmp_path / "a" / "run.json").read_text())
    assert run_json["complete"]
    assert "guest:guest" not in (tmp_path / "a" / "run.json").read_text()


def test_as_json_each_line_is_an_object(amqp_target: Target, tmp_path: Path) -> None:
    words = ["--fault", "duplicate-delivery", "--for", "0.1s", "--json", "--out", str(tmp_path)]
    done = subprocess.run([*COMMAND, amqp_target.url, *words], capture_output=True, text=True, timeout=60, check=False)
    where, last = map(json.loads, done.stdout.splitlines())
    assert (where["host"], where["folder"]) == ("127.0.0.1", str(tmp_path))
    assert where["port"] > 0
    assert last == {"passed": 0, "met": {}}


@pytest.mark.alike
@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "TARGET is missing"),
        (["nowhere://x", "--fault", "latency"], "is no target"),
        (["embedded", "--fault", "latency"], "embedded speaks amqp and mqtt: write embedded-amqp"),
        (["amqp://127.0.0.1:1"], "name what is to go wrong"),
        (["amqp://127.0.0.1:1", "--fault", "nix"], "no fault is called 'nix'"),
        (["amqp://127.0.0.1:1", "--fault", "latency", "--after", "soon"], "is no time"),
        (["amqp://127.0.0.1:1", "--fault", "latency", "--probability", "7"], "between 0 and 1"),
        (["amqp://127.0.0.1:1", "--fault", "latency", "--listen", "99999"], "--listen"),
        (["amqp://127.0.0.1:1", "--scenario", "/nowhere.toml"], "/nowhere.toml cannot be read: No such file"),
        (["amqp://127.0.0.1:1", "--repeat", "/nowhere"], "cannot be read"),
    ],
)
def test_nonsense_is_refused_in_one_line(words: list[str], says: str) -> None:
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_said_in_one_line(amqp_target: Target) -> None:
    words = [amqp_target.url, "--fault", "latency", "--listen", str(amqp_target.port)]
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"--listen {amqp_target.port}: " in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_broker_that_cannot_be_reached_is_said_in_one_line() -> None:
    words = ["amqp://127.0.0.1:1", "--fault", "latency"]
    done = subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
