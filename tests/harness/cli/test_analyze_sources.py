"""Where ``mqproof analyze`` gets its packets: several files at once, told ports, an interface, TLS with its keys."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from mqproof.harness import oracle

Mqproof = Callable[..., subprocess.CompletedProcess[str]]
CAPTURES = Path(__file__).parents[3] / "captures"
SCHEMA = json.loads(files("mqproof.harness").joinpath("analysis.schema.json").read_text())


@pytest.fixture
def mqproof(mqproof_here: Mqproof) -> Mqproof:
    return mqproof_here


def test_several_files_give_the_same_with_any_number_of_jobs(mqproof: Mqproof) -> None:
    names = [CAPTURES / f"{name}.pcapng" for name in ("mqtt-5.0", "amqp-messages", "mqtt-websocket", "mqtt-tls")]
    one, two = (json.loads(mqproof("analyze", *names, "--json", "--jobs", jobs).stdout) for jobs in ("1", "2"))
    assert one == two
    Draft202012Validator(SCHEMA).validate(one)
    assert {(row["protocol"], row["version"], row["connections"]) for row in one["versions"]} == {
        ("mqtt", "5.0", 2), ("amqp", "0-9-1", 1), ("mqtt over websocket", "3.1.1", 2), ("tls", "1.3", 2),
    }  # fmt: skip
    rows = [*one["connections"]["top"], one["connections"]["other"]]
    assert sum(row["bytes"] for row in rows) == one["bytes"]["captured"]  # all is TCP here
    assert sum(row["packets"] for row in rows) == one["packets"]


def test_the_largest_connections_and_the_rest_in_one_row(mqproof: Mqproof) -> None:
    done = mqproof("analyze", CAPTURES / "mqtt-5.0.pcapng", "--json", "--top", "1")
    found = json.loads(done.stdout)["connections"]
    assert len(found["top"]) == found["other"]["connections"] == 1
    assert found["top"][0]["bytes"] >= found["other"]["bytes"]


def test_a_port_that_is_told_is_not_judged_by_content(mqproof: Mqproof) -> None:
    path = CAPTURES / "mqtt-5.0.pcapng"
    [port] = oracle.server_ports(path)
    account = json.loads(mqproof("analyze", path, "--messages", "--json", "--decode-as", f"{port}=other").stdout)
    assert account["kinds"] == {"mqtt": {}, "amqp": {}}
    assert account["followed"]["groups"] == {}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--decode-as", "1883=http", "x"], "PORT=PROTOCOL"),
        (["--live"], "-i lo"),
        (["-i", "lo", "x"], "belong to --live"),
        ([], "name a capture"),
        (["--check-with", "tshark", "--json", "x"], "leave --json"),
        (["--keylog", "none", CAPTURES / "mqtt-tls.pcapng"], "no key log none"),
    ],
)
def test_what_does_not_go_together_is_told_in_one_line(
    mqproof: Mqproof, arguments: list[str], complaint: str
) -> None:
    done = mqproof("analyze", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.skipif(not oracle.available(), reason="tshark is not installed")
def test_tls_with_its_keys(mqproof: Mqproof) -> None:
    done = mqproof("analyze", CAPTURES / "mqtt-tls.pcapng", "--keylog", CAPTURES / "mqtt-tls.keys", "--json")
    account = json.loads(done.stdout)
    Draft202012Validator(SCHEMA).validate(account)
    assert account["kinds"]["mqtt"]["PUBLISH"]["count"] == 30
    assert account["tls"]["decrypted_connections"] == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="capturing on loopback needs root here")
def test_a_live_capture_ends_in_good_order_when_interrupted() -> None:
    command = [sys.executable, "-m", "mqproof.harness.cli", "analyze", "--live", "-i", "lo", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        assert "capturing" in process.stderr.readline()
        with socket.create_server(("127.0.0.1", 0)) as server:
            for _ in range(3):
                socket.create_connection(server.getsockname()).close()
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    account = json.loads(out)
    Draft202012Validator(SCHEMA).validate(account)
    assert account["files"][0]["name"] == "lo"
    assert account["bytes"]["captured"] == sum(account["bytes"]["by_layer"].values())


def test_an_interface_that_is_not_there(mqproof: Mqproof) -> None:
    done = mqproof("analyze", "--live", "-i", "nowhere0")
    assert done.returncode == 2
    assert "nothing can be captured on nowhere0" in done.stderr.splitlines()[-1]
