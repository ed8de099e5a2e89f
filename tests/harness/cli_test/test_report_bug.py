"""A report for a broker's maintainers: its script, run alone, shows the deviation on the broker that has it."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from mqproof.dissectors.amqp import codec as amqp
from mqproof.harness.bug_replay import GUEST, Step, shrink, steps_of
from mqproof.harness.bug_report import Case, NothingToReport, as_markdown, shrunk, smallest_case, standalone_script
from mqproof.harness.cli.main import app
from mqproof.harness.evidence import save_transcripts, wire_data
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.reference.mqtt.server import start_in_thread
from mqproof.harness.run import Run, load
from mqproof.harness.saboteur.core import passage_for
from mqproof.harness.saboteur.running import chosen_faults
from mqproof.harness.statements.registry import find
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.target import BadTarget, Target
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
    assert done.stdout.splitlines() == ["1 > CONNECT", "1 < b' \\x02\\x00\\x00'", "1 > PINGREQ", "1 < b'\\xd0\\x00'"]
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


@contextmanager
def broken(protocol: str, fault: str) -> Iterator[tuple[str, Target, Target]]:
    """A good broker and the same one behind the saboteur: URL of the broken one, both as targets."""
    (spec,) = chosen_faults([fault])
    with DRIVERS["embedded"].start([protocol]) as broker, ProxyLoop() as loop:
        good = broker.targets[0]
        bad = loop.proxy(good, passage_for(spec.make())).target
        yield f"{protocol}://{'guest:guest@' if protocol == 'amqp' else ''}{bad.host}:{bad.port}", bad, good


def executed(script: str, port: int) -> str:
    moved = re.sub(r'"127\.0\.0\.1", \d+', f'"127.0.0.1", {port}', script)
    command = [sys.executable, "-I", "-S", "-c", moved]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.whole_run
def test_the_script_shows_the_fault_on_the_broken_broker_and_not_on_the_good_one(tmp_path):
    with broken("amqp", "mandatory-ignored") as (url, bad, good):
        command = [sys.executable, "-P", "-m", "mqproof.harness.cli", "test", url, "--suite", "amqp", "-k",
                   "mandatory_message_that_no_queue_gets", "--patience", "0.3", "--fail-on", "should",
                   "--out", str(tmp_path)]  # fmt: skip
        assert subprocess.run(command, capture_output=True, timeout=120, check=False).returncode == 1
        case = smallest_case(load(tmp_path), tmp_path, "amqp-0-9-1:basic.publish.mandatory/01")
        script = standalone_script(case)
        assert script is not None
        on_bad, on_good = (executed(script, target.port) for target in (bad, good))
        fewer = shrunk(case, (bad.host, bad.port), (good.host, good.port))
    assert "import mqproof" not in script
    assert "NO_ROUTE" in on_good  # basic.return
    assert "NO_ROUTE" not in on_bad
    assert len(script.splitlines()) < 35
    assert 0 < len(fewer.steps or ()) <= len(case.steps or ())


def test_what_can_go_goes_and_the_last_step_stays():
    steps = [Step(1, octets, "") for octets in (CONNECT, b"a", PING, b"b", PING, PING)]
    assert [step.octets for step in shrink(steps, lambda some: len([*some]) > 3)] == [CONNECT, b"a", PING, PING]
    kept = shrink(steps, lambda some: [step.octets for step in some].count(PING) == 3 and some[0] == steps[0])
    assert [step.octets for step in kept] == [CONNECT, PING, PING, PING]
    assert shrink(steps, lambda some: True) == steps[-1:]
    assert shrink(steps, lambda some: False) == steps


@pytest.mark.slow
def test_steps_that_are_not_needed_are_left_out():
    with broken("mqtt", "second-ping-unanswered") as (_, bad, good):
        transcript = Transcript("wire 1")
        for octets in (CONNECT, bytes.fromhex("8206000100016100"), PING, bytes.fromhex("8206000200016200"), PING, PING):
            transcript.add(">", octets, octets.hex())
            transcript.add("<", b"", "an answer")
        steps = steps_of([wire_data(transcript, ())], "mqtt://h:1")
        target = {"protocol": "mqtt", "url": "mqtt://h:1", "name": "m", "product": "B", "version": "1"}
        statement = find("mqtt-3.1.1:MQTT-3.12.4-1")
        case = Case(statement, {"expected": "PINGRESP", "actual": "none"}, target, "t", [], steps, len(steps or ()))
        fewer = shrunk(case, (bad.host, bad.port), (good.host, good.port))
        assert [step.octets for step in fewer.steps or ()] == [CONNECT, PING, PING, PING]
        assert "shrunk from 6 steps to 4" in as_markdown(replace(fewer, wires=[wire_data(transcript, ())]))
        with pytest.raises(NothingToReport, match="does not tell the broker from the reference"):
            shrunk(case, (good.host, good.port), (good.host, good.port))


def test_a_masked_login_becomes_that_of_the_public_default():
    login = amqp.method("connection.start-ok", 0, mechanism="PLAIN", response=b"*" * 20, locale="en_US")
    transcript = Transcript("wire 1")
    transcript.add(">", amqp.encode(login), "connection.start-ok")
    (step,) = steps_of([wire_data(transcript, ())], "amqp://h:1") or []
    assert GUEST in step.octets
    assert "put your login here" in step.says
    masked = Transcript("wire 1")
    masked.add(">", b"\x10\x08 *** ***", "CONNECT")
    assert steps_of([wire_data(masked, ())], "mqtt://h:1") is None


def test_the_brokers_log_is_part_of_the_report(tmp_path):
    run = saved(tmp_path, 1883, conversation(CONNECT, PING))
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "m.log").write_text("".join(f"line {number}\n" for number in range(100)))
    text = as_markdown(smallest_case(run, tmp_path, CLAUSE))
    assert "## The broker's log" in text
    assert ("line 99" in text, "line 50" in text) == (True, False)


def test_a_run_of_somebody_else_names_no_other_log(tmp_path):
    folder = tmp_path / "run"
    run = saved(folder, 1883, conversation(CONNECT, PING))
    (folder / "logs").mkdir()
    (tmp_path / "private.log").write_text("a secret")
    run.targets[0]["name"] = run.statements[0]["target"] = "../../private"
    assert smallest_case(run, folder, CLAUSE).log == ""


def test_nothing_of_a_run_is_code_in_the_script(tmp_path):
    """The maintainer runs it: a port, a text or a fence out of a stranger's run must stay data."""
    evil = Transcript("wire 1")
    evil.add(">", CONNECT, '"); import os #\n```\n~~~~\x1b[2J 😀')
    run = saved(tmp_path, 1883, evil)
    script = standalone_script(smallest_case(run, tmp_path, CLAUSE))
    assert script is not None
    names = {node.id for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Name)}
    assert "os" not in names
    steps = next(node.value for node in ast.parse(script).body if ast.unparse(node).startswith("STEPS"))
    ((number, octets, says),) = ast.literal_eval(steps)
    assert (number, octets) == (1, CONNECT.hex())
    assert says.endswith("\\x1b[2J 😀")
    says.encode()  # a pair of surrogates could not be printed
    run.targets[0]["url"] = "mqtt://127.0.0.1:__import__('os').abort()"
    with pytest.raises(BadTarget, match="no valid port"):
        standalone_script(smallest_case(run, tmp_path, CLAUSE))


def test_a_conversation_does_not_end_its_own_block(tmp_path):
    evil = Transcript("wire 1")
    evil.add(">", CONNECT, "x\n```\n~~~~\n# Mine")
    text = as_markdown(smallest_case(saved(tmp_path, 1883, evil), tmp_path, CLAUSE))
    assert text.index("````text") < text.index("# Mine") < text.index("\n````\n")


@pytest.mark.whole_run
def test_a_run_keeps_the_logs_of_brokers_that_it_started(tmp_path, mosquitto):
    command = [sys.executable, "-P", "-m", "mqproof.harness.cli", "test", "mosquitto", "-k", "sanity", "--quick",
               "--out", str(tmp_path)]  # fmt: skip
    subprocess.run(command, capture_output=True, timeout=120, check=False)
    assert "mosquitto version" in (tmp_path / "logs" / "mosquitto.log").read_text()
