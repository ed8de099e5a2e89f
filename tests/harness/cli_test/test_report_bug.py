"""A report for a broker's maintainers: its script, run alone, shows the deviation on the broker that has it."""

import re
import subprocess
import sys

import pytest
from mqproof.harness.bug_report import NothingToReport, as_markdown, smallest_case, standalone_script
from mqproof.harness.cli.main import app
from mqproof.harness.evidence import save_transcripts
from mqproof.harness.reference.mqtt.server import start_in_thread
from mqproof.harness.run import Run
from mqproof.harness.wires.base import Transcript
from typer.testing import CliRunner

CLAUSE = "MQTT-3.12.4-1"
CONNECT = bytes.fromhex("100c00044d5154540402000000000000")[:14]
PING = bytes.fromhex("c000")


def conversation(*octets: bytes) -> Transcript:
    transcript = Transcript("wire 1")
    for said in octets:
        transcript.add(">", said, "PINGREQ" if said == PING else "CONNECT")
        transcript.add("<", b"", "an answer")
    return transcript


def saved(folder, port: int = 1883, *transcripts: Transcript, verdict: str = "deviates") -> Run:
    url = f"mqtt://me:***@127.0.0.1:{port}"
    target = {"name": "m", "url": url, "protocol": "mqtt", "product": "Broker", "version": "1.2", "capabilities": []}
    run = Run(targets=[target])
    for number, transcript in enumerate(transcripts):
        file = save_transcripts(folder, f"t{number}", [transcript], ())
        run.tests.append({"id": f"t{number}", "target": "m", "outcome": verdict, "transcript": file})
    row = {"spec": "mqtt-3.1.1", "id": CLAUSE, "target": "m", "verdict": verdict, "reason": "got nothing"}
    tests = [test["id"] for test in run.tests] or ["t0"]
    run.statements.append(row | {"tests": tests, "expected": "PINGRESP", "actual": "nothing"})
    run.save(folder)
    return run


def test_the_report_has_clause_broker_expected_actual_and_the_smallest_conversation(tmp_path):
    run = saved(tmp_path, 1883, conversation(CONNECT, PING, PING), conversation(CONNECT, PING))
    text = as_markdown(smallest_case(run, tmp_path, f"mqtt-3.1.1:{CLAUSE}"))
    for part in ("# Broker 1.2: ", f"[mqtt-3.1.1:{CLAUSE}](https://", "**Expected:** PINGRESP", "**Actual:** nothing"):
        assert part in text
    assert "Found by the test `t1`" in text
    assert text.count("> PINGREQ") == 1
    assert text.count('"c000", "PINGREQ"') == 1


def test_the_script_runs_alone_and_shows_what_the_broker_does(tmp_path):
    broker = start_in_thread()
    try:
        run = saved(tmp_path, broker.port, conversation(CONNECT, PING))
        text = as_markdown(smallest_case(run, tmp_path, CLAUSE))
        script = re.search(r"```python\n(.*?)```", text, re.DOTALL)
        assert script is not None
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", script[1]], capture_output=True, text=True, timeout=30, check=True
        )
    finally:
        broker.stop()
    assert done.stdout.splitlines() == ["1 > CONNECT", "1 < 20 02 00 00", "1 > PINGREQ", "1 < d0 00"]
    assert "mqproof" not in script[1]
    assert script[1].count("\n") < 30


@pytest.mark.parametrize("octets", [b"x" * 5000, b"login ***"])
def test_what_is_cut_or_masked_makes_no_script(tmp_path, octets):
    run = saved(tmp_path, 1883, conversation(octets))
    case = smallest_case(run, tmp_path, CLAUSE)
    assert standalone_script(case) is None
    assert "A script is left out" in as_markdown(case)


def test_a_deviation_without_a_conversation_is_reported_too(tmp_path):
    assert "**Actual:** nothing" in as_markdown(smallest_case(saved(tmp_path), tmp_path, CLAUSE))


def test_what_conforms_is_nothing_to_report(tmp_path):
    with pytest.raises(NothingToReport, match="conforms on m"):
        smallest_case(saved(tmp_path, verdict="conforms"), tmp_path, CLAUSE)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([CLAUSE, "--target", "other"], "no deviation from"),
        (["MQTT-9.9.9-9"], "no statement is called"),
    ],
)
def test_the_command_refuses_in_one_line(tmp_path, arguments, says):
    saved(tmp_path)
    result = CliRunner().invoke(app, ["report-bug", str(tmp_path), *arguments])
    assert result.exit_code == 2
    assert says in result.stderr
    assert CliRunner().invoke(app, ["report-bug", str(tmp_path / "no"), CLAUSE]).exit_code == 2
    assert CliRunner().invoke(app, ["report-bug", str(tmp_path), CLAUSE]).exit_code == 0
