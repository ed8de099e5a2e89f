"""``mqproof test`` as a user runs it: in a process of its own, in a folder of the user's."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from mqproof.harness.reference.amqp.server import start_in_thread

pytestmark = pytest.mark.whole_run
TOPIC = "amqp-0-9-1:3.1.3.3/words"
SCHEMA = json.loads(files("mqproof.harness").joinpath("run.schema.json").read_text())
DEADLINE = 90.0


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-P", "-c", "from mqproof.harness.cli.main import main; main()", *map(str, arguments)]


def mqproof(folder: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=DEADLINE, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def good_run(tmp_path_factory):
    """One run that conforms, made in a folder whose own pytest configuration is hostile."""
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (folder / "conftest.py").write_text("raise RuntimeError('a conftest of the user')\n")
    for name in ("suites", "harness", "tests", "amqp"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise RuntimeError('a package of the user')\n")
    (folder / "pika.py").write_text("raise RuntimeError('a module of the user')\n")
    arguments = ("test", "embedded", "--statement", TOPIC, "--json", "copy.json", "--out", "run")
    result = mqproof(folder, *arguments, PYTEST_ADDOPTS="--also-nonsense", PYTEST_PLUGINS="no.such.plugin")
    return folder, result


def test_a_users_folder_and_settings_change_nothing(good_run):
    _, result = good_run
    assert (result.returncode, result.stderr) == (0, "")
    assert "embedded-amqp amqp-0-9-1" in result.stdout
    assert not {"\x1b", "\r"} & set(result.stdout)  # no progress bar and no colour where nobody looks


def test_the_run_directory_is_complete_and_valid(good_run):
    folder, _ = good_run
    run = json.loads((folder / "run" / "run.json").read_text())
    jsonschema.validate(run, SCHEMA)
    assert run["complete"] is True
    assert run["planned"] == len(run["tests"]) > 10
    assert run["targets"][0]["name"] == "embedded-amqp"
    row = next(row for row in run["statements"] if row["id"] == "3.1.3.3/words")
    assert row["verdict"] == "conforms"
    assert sorted(row["tests"]) == sorted(test["id"] for test in run["tests"])
    assert json.loads((folder / "copy.json").read_text()) == run


def test_junit_and_allure_results_lie_beside_it(good_run):
    folder, _ = good_run
    run = json.loads((folder / "run" / "run.json").read_text())
    suite = ElementTree.parse(folder / "run" / "junit.xml").getroot().find("testsuite")
    assert suite is not None
    assert int(suite.get("tests", "0")) == run["planned"]
    results = [json.loads(path.read_text()) for path in (folder / "run" / "allure-results").glob("*-result.json")]
    assert len(results) == run["planned"]
    labels = {(label["name"], label["value"]) for label in results[0]["labels"]}
    assert {("epic", "AMQP 0-9-1"), ("feature", "Topic Exchange"), ("severity", "critical")} <= labels
    assert {("target", "embedded-amqp")} <= labels
    assert all(not result.get("attachments") for result in results)
    assert not (folder / "run" / "evidence").exists()


def test_tests_that_conform_keep_their_conversations_when_asked(tmp_path):
    words = ("--statement", "amqp-0-9-1:connection.tune.frame-max/minimum", "--workers", "2", "--out", "run")
    result = mqproof(tmp_path, "test", "embedded-amqp", *words, "--evidence", "all")
    assert result.returncode == 0, result.stdout + result.stderr
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["tests"]
    assert all((tmp_path / "run" / test["transcript"]).is_file() for test in run["tests"])
    for path in (tmp_path / "run" / "allure-results").glob("*-result.json"):
        attachments = json.loads(path.read_text())["attachments"]
        names = [attachment["name"] for attachment in attachments]
        assert {"verdict", "conversation", "capture"} <= set(names)
        assert len(names) == len(set(names))
        (verdict,) = [one["source"] for one in attachments if one["name"] == "verdict"]
        assert "verdict    conforms\nrepeat" in (path.parent / verdict).read_text()
    assert mqproof(tmp_path, "scorecard", "run").returncode == 0
    assert '"svg"' in (tmp_path / "run" / "scorecard.html").read_text()


def test_nothing_is_left_in_the_users_folder(good_run):
    folder, _ = good_run
    assert {path.name for path in folder.iterdir()} == {
        "pytest.ini", "conftest.py", "suites", "harness", "tests", "amqp", "pika.py", "copy.json", "run",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--statement", "amqp-0-9-1:3.1.3.3/wrods"], 2, "the nearest is amqp-0-9-1:3.1.3.3/words"),
        (["--suite", "stomp"], 2, "--suite stomp: there are amqp"),
        (["--level", "PERHAPS"], 2, "--level PERHAPS"),
        (["--patience", "0"], 2, "--patience"),
        (["--fail-on", "may"], 2, "--fail-on may"),
        (["nobroker"], 2, "'nobroker' is no target"),
        (["http://localhost"], 2, "the scheme must be one of"),
        (["amqp://me:hunter2@127.0.0.1:9"], 3, "nothing listens"),
        (["embedded", "--statement", TOPIC, "-k", "nothing_is_called_so"], 5, "no test fits"),
        (["mosquitto", "--suite", "amqp"], 2, "cannot speak"),
        (["--password-file", "missing"], 2, "--password-file missing"),
        (["ws://me:hunter2@localhost", "--record"], 2, "--record reads no WebSocket"),
        (["ws://me:hunter2@localhost/a%20b c"], 2, "no valid path"),
    ],
)
def test_bad_input_is_one_line_and_its_exit_code(tmp_path, arguments, code, says):
    result = mqproof(tmp_path, "test", *arguments)
    assert result.returncode == code
    assert says in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.stdout + result.stderr
    assert "hunter2" not in result.stdout + result.stderr


def test_an_existing_run_is_not_overwritten(good_run):
    folder, _ = good_run
    before = (folder / "run" / "run.json").read_bytes()
    result = mqproof(folder, "test", "embedded", "--out", "run")
    assert result.returncode == 2
    assert "holds a run already" in result.stderr
    assert (folder / "run" / "run.json").read_bytes() == before


def test_a_broker_that_breaks_a_statement_ends_with_1_and_is_shown(tmp_path):
    broker = start_in_thread(["topic-star-any"])
    try:
        url = f"amqp://guest:guest@127.0.0.1:{broker.port}"
        result = mqproof(tmp_path, "test", url, "--statement", TOPIC, "--out", "run", "--json", "-")
    finally:
        broker.stop()
    assert result.returncode == 1
    run = json.loads(result.stdout)
    row = next(row for row in run["statements"] if row["id"] == "3.1.3.3/words")
    assert row["verdict"] == "deviates"
    assert row["expected"]
    assert row["actual"]
    assert f"MUST  {TOPIC}  on 127.0.0.1:{broker.port}" in result.stderr
    shown = [test for test in run["tests"] if test["outcome"] == "deviates"]
    assert shown
    assert all((tmp_path / "run" / test["transcript"]).exists() for test in shown)


def test_ctrl_c_writes_what_there_is_and_ends_with_130(tmp_path):
    process = subprocess.Popen(
        command("test", "embedded", "--suite", "amqp", "--out", "run"), cwd=tmp_path, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + DEADLINE
    while not (tmp_path / "run" / ".plan.json").exists() and time.monotonic() < deadline:
        with_short_wait(process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert "Traceback" not in errors
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    jsonschema.validate(run, SCHEMA)
    assert run["complete"] is False
    assert run["planned"] > len(run["tests"])


def with_short_wait(process: subprocess.Popen[str]) -> None:
    try:
        process.wait(timeout=0.02)
    except subprocess.TimeoutExpired:
        return
    pytest.fail(f"ended too early: {process.communicate()}")


def test_help_documents_every_exit_code(tmp_path):
    text = mqproof(tmp_path, "test", "--help").stdout
    for code in (0, 1, 2, 3, 4, 5, 130):
        assert f"  {code:<3}  " in text


def test_a_run_on_a_terminal_ends_as_a_run_elsewhere(tmp_path: Path) -> None:
    """The bar that a terminal gets does not take the streams along when it goes."""
    controller, terminal = pty.openpty()
    words = command("test", "embedded", "--suite", "amqp", "-k", "topic_pattern", "--workers", "1", "--out", "run")
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen(
        words, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=terminal, stderr=terminal
    )
    os.close(terminal)
    watchdog = threading.Timer(DEADLINE, process.kill)
    watchdog.start()
    said = read_all(controller).decode()
    watchdog.cancel()
    assert process.wait(timeout=DEADLINE) == 0, said
    assert "━" in said, "the bar"
    assert said.rstrip().endswith("tests ended; run directory: run"), said


def read_all(controller: int) -> bytes:
    """Return what comes until nobody has the terminal open any more."""
    parts = []
    with suppress(OSError):  # EIO is the end of a terminal
        while part := os.read(controller, 1 << 16):
            parts.append(part)
    os.close(controller)
    return b"".join(parts)


def test_what_would_drown_a_recording_is_left_out_of_one(tmp_path: Path) -> None:
    done = mqproof(tmp_path, "test", "embedded-mqtt", "--record", "-k", "packet_ids_begin_anew", "--out", "run")
    assert done.returncode == 5, done.stderr
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert {(test["outcome"], "would drown" in test["reason"]) for test in run["tests"]} == {("untested", True)}
