"""run.json: written whole or not at all, valid by its schema, and refused when it is not ours."""

import json
import os
import shutil
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from mqproof.harness.cli.main import app
from mqproof.harness.run import BadRun, Run, load, migrated, new_folder, write_atomically
from mqproof.harness.targets.target import parse_url
from typer.testing import CliRunner

SCHEMA = json.loads(files("mqproof.harness").joinpath("run.schema.json").read_text())
FIRST = Path(__file__).parent / "first_version"


def some_run() -> Run:
    run = Run(planned=1)
    run.add_targets([parse_url("amqp://me:topsecret@host/vhost")])
    run.tests.append(
        {
            "id": "suites/amqp/test_a.py::test_b[host:5672]",
            "target": "host:5672",
            "statements": ["amqp-0-9-1:3.1.3.3/words"],
            "outcome": "conforms",
            "duration_s": 0.1,
        }
    )
    run.finish(complete=True)
    return run


def test_what_is_saved_is_loaded_again_and_valid(tmp_path):
    run = some_run()
    run.save(tmp_path)
    assert load(tmp_path) == run
    assert load(tmp_path / "run.json") == run
    jsonschema.validate(json.loads((tmp_path / "run.json").read_text()), SCHEMA)


@pytest.mark.parametrize("url", ["amqps://h", "mqtt://h", "mqtts://me:secret@h:8883", "ws://h:80/mqtt", "wss://h/mqtt"])
def test_every_url_that_a_target_can_have_is_valid(tmp_path, url):
    run = some_run()
    run.targets.clear()
    run.add_targets([parse_url(url)])
    run.save(tmp_path)
    jsonschema.validate(json.loads((tmp_path / "run.json").read_text()), SCHEMA)


def test_the_schema_refuses_what_is_not_a_run():
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"schema": 1}, SCHEMA)


def test_passwords_are_not_saved(tmp_path):
    some_run().save(tmp_path)
    text = (tmp_path / "run.json").read_text()
    assert "topsecret" not in text
    assert "amqp://me:***@host:5672/vhost" in text


def test_a_run_is_incomplete_until_it_says_otherwise(tmp_path):
    Run().save(tmp_path)
    run = load(tmp_path)
    assert (run.complete, run.finished) == (False, None)


@pytest.mark.parametrize(
    ("section", "change", "says"),
    [
        ("tool", {"version": None}, "tool has no version"),
        ("tests", {"statements": None}, "in a row of tests, statements is no list of texts"),
        ("tests", {"case": {}}, "in a row of tests, case is no text"),
        ("tests", {"duration_s": True}, "in a row of tests, duration_s is no number"),
        ("statements", {"tests": [{}]}, "in a row of statements, tests is no list of texts"),
        ("statements", {"reason": 5}, "in a row of statements, reason is no text"),
        ("targets", {"capabilities": "all"}, "in a row of targets, capabilities is no list of texts"),
        ("loads", {"settings": -1.5}, "in a row of loads, settings is no table"),
        ("loads", {"stages": [1]}, "in a row of loads, stages is no list of tables"),
        ("analyses", {"account": []}, "in a row of analyses, account is no table"),
        ("analyses", {"account": {"messages": {"amqp": True}}}, "account has no messages by protocol and kind"),
        ("errors", {"a": 1}, "errors is no list of texts"),
    ],
)
def test_rows_that_no_reader_could_use_are_refused_by_all_commands(tmp_path, section, change, says):
    shutil.copytree(FIRST, tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    data = json.loads(file.read_text())
    if isinstance(data.get(section), list) and section != "errors":
        data[section] = [(data[section] or [{}])[0] | change]
    else:
        data[section] = data.get(section, {}) | change if section == "tool" else change
    file.write_text(json.dumps(data))
    with pytest.raises(BadRun, match=f"is damaged: .*{says}"):
        load(tmp_path / "run")
    for command in (["gate"], ["scorecard"], ["report"], ["compare", str(FIRST)],
                    ["conformance", "--spec", "amqp-0-9-1"]):  # fmt: skip
        outcome = CliRunner().invoke(app, [*command, str(tmp_path / "run")])
        assert (command[0], outcome.exit_code) == (command[0], 2), outcome.output


def test_what_a_row_may_lack_is_made_up_for(tmp_path):
    shutil.copytree(FIRST, tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    data = json.loads(file.read_text())
    for row in data["statements"]:
        for key in ("tests", "expected", "actual", "reason"):
            del row[key]
    for row in data["tests"]:
        del row["case"]
    file.write_text(json.dumps(data))
    for arguments in (["scorecard"], ["compare", str(FIRST)], ["conformance", "--spec", data["statements"][0]["spec"]]):
        outcome = CliRunner().invoke(app, [*arguments, str(tmp_path / "run")])
        assert (arguments[0], outcome.exit_code) in ((arguments[0], 0), ("compare", 1)), outcome.output


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "cannot be read"),
        ('{"schema": 1', "cannot be read"),
        ("[]", "was not written by mqproof"),
        ('{"schema": 1, "tool": {"name": "other"}}', "was not written by mqproof"),
        ('{"tool": {"name": "mqproof"}}', "no schema version"),
        ('{"schema": 1, "tool": {"name": "mqproof"}, "tests": {}}', "tests is no list"),
        ('{"schema": 1, "tool": {"name": "mqproof"}, "statements": [{"spec": "x"}]}', "statements, id is missing"),
        ('{"schema": 1, "tool": {"name": "mqproof"}, "targets": [7]}', "a row of targets is no table"),
        ('{"schema": 1, "tool": {"name": "mqproof"}, "complete": "yes"}', "complete is no boolean"),
        (
            '{"schema": 1, "tool": {"name": "mqproof"}, "statements":'
            ' [{"spec": "a", "id": "b", "target": "c", "verdict": "fine"}]}',
            "a:b has no verdict that there is",
        ),
        ("[" * 100_000, "cannot be read"),
        ('{"schema": 2, "tool": {"name": "mqproof"}}', "written by a newer mqproof .* upgrade mqproof"),
        ('{"schema": 0, "tool": {"name": "mqproof"}}', "which no mqproof has written"),
    ],
)
def test_a_foreign_or_damaged_run_is_refused_in_one_line(tmp_path, text, says):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(BadRun, match=says) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_no_run_at_all_is_refused(tmp_path):
    with pytest.raises(BadRun, match="is no run"):
        load(tmp_path)


def test_what_a_newer_version_added_does_not_disturb(tmp_path):
    run = some_run()
    run.save(tmp_path)
    data = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(data | {"novelty": [1]}))
    assert load(tmp_path) == run


def test_an_older_run_is_lifted_step_by_step():
    """No schema but the first has been written so far: the steps are shown on made-up ones."""
    steps = {
        1: lambda data: {**data, "statements": data["rows"]},
        2: lambda data: {key: value for key, value in data.items() if key != "rows"},
    }
    lifted = migrated({"schema": 1, "rows": [1]}, Path("run.json"), steps, 3)
    assert lifted == {"schema": 3, "statements": [1]}
    assert migrated({"schema": 3}, Path("run.json"), steps, 3) == {"schema": 3}


def test_a_run_of_the_first_version_is_read_by_every_command(tmp_path):
    """Committed as mqproof 0.1.0 wrote it, and never written again."""
    shutil.copytree(FIRST, tmp_path / "run")
    run = load(tmp_path / "run")
    assert (run.tool["version"], len(run.statements), len(run.loads)) == ("0.1.0", 3, 1)
    folder = str(tmp_path / "run")
    for arguments, code in (
        (["gate", folder], 1), (["compare", folder, folder], 0), (["scorecard", folder], 0),
        (["runs", "pack", folder], 0),
        (["report-bug", folder, "mqtt-3.1.1:MQTT-3.12.4-1"], 0), (["runs", "list", str(tmp_path)], 0),
    ):  # fmt: skip
        outcome = CliRunner().invoke(app, arguments)
        assert (arguments[0], outcome.exit_code) == (arguments[0], code), outcome.output


def test_a_link_or_a_pipe_is_written_into_and_not_replaced(tmp_path):
    """As root, ``-o /dev/stdout`` would else take the device away from everybody."""
    file, link, pipe = tmp_path / "file", tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(file)
    write_atomically(link, "text")
    assert (link.is_symlink(), file.read_text()) == (True, "text")
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(pipe, "text")
    assert (os.read(reader, 9), pipe.is_fifo()) == (b"text", True)
    os.close(reader)


def test_run_folders_are_new_and_sort_by_time(tmp_path):
    first, second = new_folder(tmp_path), new_folder(tmp_path)
    assert first != second
    assert first.parent == tmp_path / "mqproof-runs"


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    file = tmp_path / "run.json"
    write_atomically(file, "old")

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(file, "new")
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.json"]
