"""``mqproof client-test`` from outside, and the reports in docs."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import psutil
import pytest

ROOT = Path(__file__).parents[3]
COMMAND = [sys.executable, "-P", "-m", "mqproof.harness.cli", "client-test"]
CAREFUL = """
import os, socket, sys
with socket.create_connection((os.environ["MQPROOF_HOST"], int(sys.argv[1]))) as connection:
    connection.sendall(CONNECT)
    connection.recv(100)
    connection.sendall(REST)
"""
CONNECT = b"\x10\x18\0\x04MQTT\x04\xc2\0\x3c\0\x02me\0\x01u\0\x05seekr"


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([*COMMAND, *words], capture_output=True, text=True, timeout=120, check=False)


def client(rest: bytes) -> list[str]:
    """A client in Python that says CONNECT and then these octets."""
    script = CAREFUL.replace("(CONNECT)", f"({CONNECT!r})").replace("(REST)", f"({rest!r})")
    return [sys.executable, "-c", script, "{port}"]


@pytest.mark.parametrize(
    ("rest", "code", "says"),
    [
        (b"\xe0\0", 0, "0 deviates"),
        (b"\xe0\0\xc0\0", 1, "MQTT-3.14.4-2 deviates"),
        (b"\x82\x08\0\1\0\3a#b\0", 1, "MQTT-4.7.1-2 deviates"),
    ],
)
def test_a_client_is_judged(tmp_path: Path, rest: bytes, code: int, says: str) -> None:
    words = ["--protocol", "mqtt311", "--situation", "plain", "--out", str(tmp_path)]
    done = run(*words, "--", *client(rest))
    assert (done.returncode, says in done.stdout) == (code, True), done.stdout + done.stderr
    data = json.loads((tmp_path / "run.json").read_text())
    jsonschema.validate(data, json.loads((ROOT / "harness" / "run.schema.json").read_text()))
    assert data["complete"]
    text = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert "seekr" not in text
    assert b"seekr".hex() not in text


@pytest.mark.alike
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--protocol", "mqtt6", "--", "true"], "there are mqtt5, mqtt311, amqp"),
        (["--protocol", "amqp", "--situation", "storm", "--", "true"], "--situation storm: there are"),
        (["--protocol", "amqp", "--", "/no/such/client"], "cannot be started"),
    ],
)
def test_nonsense_is_refused_in_one_line(words: list[str], says: str) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_client_that_says_nothing_is_not_praised(tmp_path: Path) -> None:
    done = run("--protocol", "amqp", "--out", str(tmp_path), "--", "true")
    assert done.returncode == 5


def test_a_client_that_does_not_end_is_ended_with_its_children(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/child; wait"
    words = ["--protocol", "amqp", "--situation", "plain", "--timeout", "0.5", "--out", str(tmp_path / "run")]
    run(*words, "--", "sh", "-c", script)
    child = int((tmp_path / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_client_that_we_end_is_not_accused_of_how_it_ended(tmp_path: Path) -> None:
    script = (
        "import os, pika, threading\n"
        "connection = pika.BlockingConnection(pika.URLParameters(os.environ['MQPROOF_URL']))\n"
        "connection.process_data_events(60)\n"
    )
    words = ["--protocol", "amqp", "--situation", "plain", "--timeout", "3", "--out", str(tmp_path)]
    done = run(*words, "--", sys.executable, "-c", script)
    assert done.returncode == 0, done.stdout
    assert "2.3.7/close-handshake deviates" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "protocols", "file"), [("paho", ("mqtt5", "mqtt311"), "paho"), ("pika", ("amqp",), "pika")]
)
def test_the_reports_in_docs_are_what_the_command_writes(
    tmp_path: Path, name: str, protocols: tuple[str, ...], file: str
) -> None:
    """Verdicts, not evidence: which message met a fault depends on time."""
    example = ROOT / "docs" / "examples" / "clients" / f"{file}_client.py"
    words = [word for protocol in protocols for word in ("--protocol", protocol)]
    run(*words, "--client", name, "--out", str(tmp_path), "--markdown", str(tmp_path / "page.md"), "--",
        sys.executable, str(example))  # fmt: skip
    page = (ROOT / "docs" / "client-test" / f"{file}.md").read_text()
    assert verdicts((tmp_path / "page.md").read_text()) == verdicts(page)


def verdicts(page: str) -> list[tuple[str, str]]:
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    return [(row[0], row[1]) for row in rows]
