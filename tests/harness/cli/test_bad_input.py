"""Everything that a user can get wrong: one line that says what, where and what to do, and the documented exit code."""

import http.server
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from mqproof.harness.targets.drivers.base import LocalBroker

Command = Callable[..., subprocess.CompletedProcess[str]]
USAGE, UNREACHABLE = 2, 3
DEADLINE = 45.0  # seconds for a whole command on a busy machine; preflight itself takes at most 12
SECRET = "correct-horse"
PCAP_HEADER = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000")


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the one line that a failed command says; the same rules hold for all of them."""
    said = done.stderr.strip().splitlines() or done.stdout.strip().splitlines()
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert len(said) == 1, said
    return said[0]


@pytest.fixture
def mute() -> Iterator[int]:
    """A server that accepts and says nothing; its port."""
    connections = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            try:
                while True:
                    connections.append(listener.accept()[0])
            except OSError:
                pass

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)
    for connection in connections:
        connection.close()


@pytest.fixture
def web() -> Iterator[int]:
    """An HTTP server; its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join(5)


@pytest.fixture
def nothing() -> Iterator[int]:
    """A port on which nobody listens, and which nobody else can take."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


@pytest.fixture(params=["test", "load", "pytest"])
def command(request: pytest.FixtureRequest, mqproof: Command, tmp_path: Path) -> Command:
    """Each way in which a target can be named."""

    def run(target: str, *options: str) -> subprocess.CompletedProcess[str]:
        began = time.monotonic()
        if request.param == "test":
            done = mqproof("test", target, *options, "--out", tmp_path / "run", cwd=tmp_path)
        elif request.param == "load":
            done = mqproof("load", "welcome-email", target, *options, "--users", "1", "--duration", "1", cwd=tmp_path)
        else:
            done = plain_pytest(target, *options, cwd=tmp_path)
        assert time.monotonic() - began < DEADLINE
        return done

    return run


def plain_pytest(target: str, *options: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the suites in plain pytest; what it prints about itself is left out."""
    ours = [option.replace("--ca-file", "--mqproof-ca-file") for option in options]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--pyargs", "mqproof.suites.amqp", "--broker", target, *ours],
        cwd=cwd, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    lines = [line for line in done.stderr.splitlines() if "://" in line]  # pytest has it on stdout once more
    return subprocess.CompletedProcess(done.args, done.returncode, "", "\n".join(lines))


# -- targets ---------------------------------------------------------------------------------------------------------


def test_nothing_listens(command: Command, nothing: int) -> None:
    assert "nothing listens" in complaint(command(f"amqp://127.0.0.1:{nothing}"), UNREACHABLE)


def test_no_such_host(command: Command) -> None:
    assert "no host is called" in complaint(command("amqp://no-such-host.invalid"), UNREACHABLE)


def test_an_http_server(command: Command, web: int) -> None:
    assert "an HTTP server answers" in complaint(command(f"amqp://127.0.0.1:{web}"), UNREACHABLE)


def test_a_server_that_says_nothing(command: Command, mute: int) -> None:
    assert "says nothing" in complaint(command(f"amqp://127.0.0.1:{mute}"), UNREACHABLE)


def test_mqtt_where_amqp_was_said(command: Command, embedded: LocalBroker) -> None:
    port = embedded.target("mqtt").port
    assert "write mqtt:// instead" in complaint(command(f"amqp://127.0.0.1:{port}"), UNREACHABLE)


def test_a_wrong_password(command: Command, rabbitmq: LocalBroker) -> None:
    port = rabbitmq.target("amqp").port
    line = complaint(command(f"amqp://guest:{SECRET}@127.0.0.1:{port}"), UNREACHABLE)
    assert "check user and password" in line


def test_tls_where_none_is_spoken(command: Command, embedded: LocalBroker) -> None:
    port = embedded.target("amqp").port
    assert "begins with amqp://" in complaint(command(f"amqps://127.0.0.1:{port}"), UNREACHABLE)


def test_a_ca_file_that_is_not_there(command: Command, embedded: LocalBroker, tmp_path: Path) -> None:
    url = f"amqps://127.0.0.1:{embedded.target('amqp').port}"
    assert "--ca-file" in complaint(command(url, "--ca-file", str(tmp_path / "absent.pem")), UNREACHABLE)


@pytest.mark.parametrize("word", ["kafka", f"ftp://anna:{SECRET}@host", "amqp://host:99999"])
def test_a_word_that_names_no_target(mqproof: Command, tmp_path: Path, word: str) -> None:
    complaint(mqproof("test", word, cwd=tmp_path), USAGE)
    complaint(mqproof("load", "welcome-email", word, cwd=tmp_path), USAGE)
    assert list(tmp_path.iterdir()) == []


def test_a_broker_started_before_another_target_fails_is_gone(mqproof: Command, nothing: int, tmp_path: Path) -> None:
    done = mqproof("test", "embedded", f"mqtt://127.0.0.1:{nothing}", cwd=tmp_path, env={"TMPDIR": str(tmp_path)})
    complaint(done, UNREACHABLE)
    assert not list(tmp_path.glob("mqproof-embedded-*"))
    reapers = [process for process in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(process.info["cmdline"])]
    assert reapers == []


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("test", "--statement", "amqp-0-9-1:9.9.9/nonsense"), "amqp-0-9-1:9.9.9/nonsense"),
        (("test", "--suite", "smtp"), "smtp"),
        (("test", "--level", "PERHAPS"), "PERHAPS"),
        (("test", "--patience", "0"), "--patience"),
        (("test", "--password-file", "/nowhere/password"), "/nowhere/password"),
        (("statements", "--spec", "amqp-2-0"), "amqp-2-0"),
        (("load", "no-such-scenario", "embedded"), "no-such-scenario"),
        (("load", "home-telemetry", "ws://localhost"), "load does not go by WebSocket"),
        (("faults", "run", "--fault", "no-such-fault"), "no-such-fault"),
        (("report", "/nowhere/run"), "/nowhere/run"),
    ],
)
def test_an_unknown_name(mqproof: Command, tmp_path: Path, arguments: tuple[str, ...], named: str) -> None:
    assert named in complaint(mqproof(*arguments, cwd=tmp_path), USAGE)


def test_a_folder_that_holds_no_run(mqproof: Command, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    assert "run.json" in complaint(mqproof("report", tmp_path), USAGE)


# -- captures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "empty"),
        (b"#!/bin/sh\necho this is no capture\n", "capture"),
        (b"\xd4\xc3\xb2\xa1", "capture"),
        (b"\x0a\x0d\x0d\x0a" + bytes(3), "capture"),
        (bytes(4096), "capture"),
    ],
    ids=["absent", "empty", "script", "half a header", "half a pcapng", "zeros"],
)
def test_a_file_that_is_no_capture(mqproof: Command, tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "capture.pcap"
    if content is not None:
        path.write_bytes(content)
    line = complaint(mqproof("analyze", path), USAGE)
    assert "capture.pcap" in line
    assert said in line


def test_a_folder_is_no_capture(mqproof: Command, tmp_path: Path) -> None:
    assert str(tmp_path) in complaint(mqproof("analyze", tmp_path), USAGE)


def test_a_truncated_capture(mqproof: Command, tmp_path: Path) -> None:
    """What is whole is analysed; that the end is missing is said."""
    packet = bytes(60)
    record = bytes(8) + len(packet).to_bytes(4, "little") * 2 + packet
    path = tmp_path / "capture.pcap"
    path.write_bytes(PCAP_HEADER + record + record[:40])
    done = mqproof("analyze", path)
    assert "Traceback" not in done.stdout + done.stderr
    assert "truncated" in done.stdout + done.stderr
