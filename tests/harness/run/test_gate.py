"""The gate: every rule passes, fails, and fails where nothing was measured; a doubtful run never passes."""

import json
import math
import re
import tomllib
import xml.etree.ElementTree as ElementTree
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest
from mqproof.harness.cli.main import app
from mqproof.harness.gate import Result, evaluate, passes
from mqproof.harness.gate_config import BadConfig, GateConfig, from_table, json_schema, read_config
from mqproof.harness.reporting import gate_text
from mqproof.harness.run import Run
from typer.testing import CliRunner

MUST, SHOULD = "3.1.3.3/words", "domain.redelivered/implementation"
LOAD = {
    "scenario": "welcome",
    "metrics": {"latency_us": {"p99": 4000}, "delivery_rate_msg_s": 900.0, "memory_per_connection_kb": 80},
    "ledger": {"lost": 0, "duplicated": 1, "reordered": 2, "corrupted": 0},
}
ANALYSIS = {"account": {"messages": {"mqtt": {"qos1": {"overhead_per_delivered": 50.5}}}}}


def row(verdict: str = "conforms", identifier: str = MUST) -> dict:
    return {"spec": "amqp-0-9-1", "id": identifier, "target": "t", "verdict": verdict, "tests": ["t"], "reason": ""}


def run(*rows: dict, **more: object) -> Run:
    return Run(**{"statements": list(rows) or [row()], "complete": True, "planned": 1, "finished": "x", **more})


def failed(found: Run, baseline: Run | None = None, **rules: object) -> set[str]:
    return {result.rule for result in evaluate(found, GateConfig(**rules), baseline) if not result.passed}


def test_a_good_run_passes_without_any_configuration():
    assert passes(evaluate(run(), GateConfig()))


@pytest.mark.parametrize(
    ("doubtful", "rule"),
    [
        (Run(complete=True), "not-empty"),
        (run(complete=False), "complete"),
        (Run(), "complete"),
    ],
)
def test_an_empty_or_partial_run_never_passes(doubtful, rule):
    assert rule in failed(doubtful, max_deviations=1000)


GOOD_AND_BAD = [
    ({"max_deviations": 1}, {"max_deviations": 0}, run(row("deviates"), row("conforms", "basic/01"))),
    ({"max_should_deviations": 1}, {"max_should_deviations": 0}, run(row("deviates", SHOULD))),
    ({"max_inconclusive": 1}, {"max_inconclusive": 0}, run(row("inconclusive"))),
    ({"min_statements": 2}, {"min_statements": 3}, run(row(), row("known-deviation", "b"), row("unsupported", "c"))),
    ({"max_p99_ms": 4}, {"max_p99_ms": 3.9}, run(loads=[LOAD])),
    ({"max_lost": 1}, {"max_lost": 0}, run(loads=[LOAD | {"ledger": LOAD["ledger"] | {"lost": 1}}])),
    ({"max_duplicated": 1}, {"max_duplicated": 0}, run(loads=[LOAD])),
    ({"max_reordered": 2}, {"max_reordered": 1}, run(loads=[LOAD])),
    ({"max_corrupted": 1}, {"max_corrupted": 0}, run(loads=[LOAD | {"ledger": LOAD["ledger"] | {"corrupted": 1}}])),
    ({"min_delivery_rate": 900}, {"min_delivery_rate": 901}, run(loads=[LOAD])),
    ({"max_memory_per_connection_kb": 80}, {"max_memory_per_connection_kb": 79}, run(loads=[LOAD])),
    ({"max_overhead_bytes": {"mqtt.qos1": 51}}, {"max_overhead_bytes": {"mqtt.qos1": 50}}, run(analyses=[ANALYSIS])),
]


@pytest.mark.parametrize(("good", "bad", "found"), GOOD_AND_BAD)
def test_a_rule_passes_at_its_bound_and_fails_beyond(good, bad, found):
    assert failed(found, **good) == set()
    assert {name.split()[0] for name in failed(found, **bad)} == set(bad)


ELSEWHERE = {"max_age_hours", "max_worse_than_baseline"}  # rules with tests of their own, below
NEED_A_NUMBER = [
    {"max_p99_ms": 1e9}, {"max_lost": 999}, {"max_duplicated": 999}, {"max_reordered": 999}, {"max_corrupted": 999},
    {"min_delivery_rate": 0}, {"max_memory_per_connection_kb": 1e9}, {"max_overhead_bytes": {"mqtt.qos1": 1e9}},
]  # fmt: skip


def test_no_rule_is_without_its_tests():
    rules = {field.name for field in fields(GateConfig)} - ELSEWHERE
    assert rules == {name for good, _, _ in GOOD_AND_BAD for name in good}
    of_verdicts = {"max_deviations", "max_should_deviations", "max_inconclusive", "min_statements"}
    assert rules - of_verdicts == {name for rules in NEED_A_NUMBER for name in rules}


@pytest.mark.parametrize("rules", NEED_A_NUMBER, ids=lambda rules: next(iter(rules)))
@pytest.mark.parametrize("loads", [[], [{}], [{"metrics": {}, "ledger": {}}], [{"metrics": None, "ledger": "x"}]])
def test_what_was_not_measured_never_passes(rules, loads):
    assert {name.split()[0] for name in failed(run(loads=loads), **rules)} == set(rules)


@pytest.mark.parametrize("value", ["fast", None, math.nan, True, [1]])
def test_a_number_that_is_none_never_passes(value):
    damaged = {"metrics": {"latency_us": {"p99": value}, "delivery_rate_msg_s": value}, "ledger": {"lost": value}}
    rules = {"max_p99_ms": 1e9, "max_lost": 999, "min_delivery_rate": 0}
    assert failed(run(loads=[damaged]), **rules) == set(rules)


def test_without_verdicts_no_rule_on_them_passes():
    assert failed(run(loads=[LOAD], statements=[]), min_statements=1) == {"min_statements"}
    assert {"not-empty"} <= failed(run(statements=[]), max_deviations=0)


def test_one_load_that_was_not_measured_is_not_outvoted():
    assert failed(run(loads=[LOAD, {"metrics": {}}]), max_p99_ms=1e9) == {"max_p99_ms"}


@pytest.mark.parametrize(("hours", "passed"), [(0.5, True), (23.9, True), (24.1, False), (-0.5, True), (-2, False)])
def test_the_age_of_a_run(hours, passed):
    moment = datetime(2026, 11, 24, 12, tzinfo=UTC)
    started = (moment - timedelta(hours=hours)).isoformat().replace("+00:00", "Z")
    results = evaluate(run(started=started), GateConfig(max_age_hours=24), moment=moment)
    assert passes(results) is passed


def test_a_run_of_unknown_age_is_too_old():
    assert failed(run(started="yesterday"), max_age_hours=24) == {"max_age_hours"}


@pytest.mark.parametrize(
    ("before", "after", "bad"),
    [
        ("conforms", "conforms", False), ("deviates", "conforms", False), ("deviates", "deviates", False),
        ("conforms", "known-deviation", True), ("conforms", "inconclusive", True), ("conforms", "unsupported", True),
        ("inconclusive", "conforms", False),
    ],
)  # fmt: skip
def test_no_verdict_is_worse_than_the_baseline(before, after, bad):
    assert ("max_worse_than_baseline" in failed(run(row(after)), run(row(before)))) is bad


def test_a_statement_that_the_run_no_longer_tests_is_worse():
    assert failed(run(row(identifier="basic/01")), run(row())) == {"max_worse_than_baseline"}


def test_an_empty_baseline_proves_nothing():
    assert failed(run(), Run(complete=True)) == {"max_worse_than_baseline"}


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"max_deviation": 0}, "there is no rule 'max_deviation'; the nearest is max_deviations"),
        ({"max_deviations": -1}, "must be a number of at least 0"),
        ({"max_deviations": True}, "must be a number"),
        ({"max_p99_ms": "fast"}, "must be a number"),
        ({"max_p99_ms": float("nan")}, "must be a number"),
        ({"max_p99_ms": "${NOT_SET}"}, "the variable NOT_SET, which is not set"),
        ({"max_p99_ms": "${SECRET}"}, "must be a number"),
        ({"max_overhead_bytes": 5}, "must be a table"),
        ([], "gate is no table"),
    ],
)
def test_a_bad_configuration_is_one_line_and_shows_no_secret(table, says):
    with pytest.raises(BadConfig, match=says) as caught:
        from_table(table, Path("mqproof.toml"), {"SECRET": "hunter2"})
    assert "\n" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_variables_are_substituted():
    config = from_table({"max_p99_ms": "${LIMIT}", "max_overhead_bytes": {"a": "${LIMIT}"}}, Path("x"), {"LIMIT": "7"})
    assert (config.max_p99_ms, config.max_overhead_bytes) == (7, {"a": 7})


def test_rules_come_from_mqproof_toml_then_pyproject(tmp_path):
    assert read_config(None, tmp_path) == GateConfig()
    (tmp_path / "pyproject.toml").write_text("[tool.other]\nx = 1\n[tool.mqproof.gate]\nmin_statements = 5\n")
    assert read_config(None, tmp_path).min_statements == 5
    (tmp_path / "mqproof.toml").write_text("[gate]\nmin_statements = 6\n")
    assert read_config(None, tmp_path).min_statements == 6


@pytest.mark.parametrize("text", ["tool = 1\n", "[tool]\nmqproof = 1\n", "[[tool.mqproof]]\nx = 1\n"])
def test_a_pyproject_that_speaks_of_other_things_has_no_rules(tmp_path, text):
    (tmp_path / "pyproject.toml").write_text(text)
    assert read_config(None, tmp_path) == GateConfig()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[gates]\n", "there is no table 'gates'"), ("[gate\n", "is no TOML"), ("", r"there is no table \[gate\]"),
        (f"a = {'[' * 100_000}", "is no TOML"),
    ],
)
def test_a_file_that_holds_no_rules_is_refused(tmp_path, text, says):
    (tmp_path / "mqproof.toml").write_text(text)
    with pytest.raises(BadConfig, match=says):
        read_config(tmp_path / "mqproof.toml", tmp_path)


def test_the_published_schema_is_up_to_date_and_agrees():
    published = json.loads(files("mqproof.harness").joinpath("gate.schema.json").read_text(encoding="utf-8"))
    assert published == json_schema()
    good = tomllib.loads('[gate]\nmax_deviations = 0\nmax_p99_ms = "${P99}"\nmax_overhead_bytes = { "mqtt.qos1" = 60 }')
    jsonschema.validate(good, published)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"gate": {"max_deviation": 0}}, published)


def results():
    return evaluate(run(row("deviates")), GateConfig(min_statements=1))


def test_junit_has_a_case_per_rule():
    suite = ElementTree.fromstring(gate_text.junit(results())).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == ("4", "1")
    assert [case.get("name") for case in suite if case.find("failure") is not None] == ["max_deviations"]


def test_no_text_of_a_run_breaks_junit_or_the_table():
    evil = Result("rule", False, "\x1b[31m", "0", "a|b \\| <img src=x> \x08")
    failure = ElementTree.fromstring(gate_text.junit([evil])).find("testsuite/testcase/failure")
    assert failure is not None
    assert (failure.get("message"), failure.text) == ("\\x1b[31m, allowed is 0", "a|b \\| <img src=x> \\x08")
    row = gate_text.markdown([evil]).splitlines()[-1]
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 6
    assert "<img" not in row


def test_annotations_markdown_and_badge_name_the_failure():
    assert gate_text.annotations(results()) == (
        "::error title=mqproof gate::max_deviations: 1, allowed is <= 0. amqp-0-9-1:3.1.3.3/words on t\n"
    )
    assert gate_text.markdown(results()).startswith("<!-- mqproof-gate -->\n### mqproof: the gate fails: 1 of 4 rules")
    assert json.loads(gate_text.badge(results()))["color"] == "red"
    assert json.loads(gate_text.badge(evaluate(run(), GateConfig())))["color"] == "brightgreen"


def called(*arguments: object, **environment: str):
    return CliRunner().invoke(app, ["gate", *map(str, arguments)], env=environment)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return tmp_path


def test_exit_codes_of_the_command(folder):
    run().save(folder / "good")
    run(row("deviates")).save(folder / "bad")
    (folder / "corrupt").mkdir()
    (folder / "corrupt" / "run.json").write_text('{"schema": 1, "tool"')
    (folder / "foreign").mkdir()
    (folder / "foreign" / "run.json").write_text('{"schema": 1, "tool": {"name": "x"}}')
    codes = {name: called(folder / name).exit_code for name in ("good", "bad", "corrupt", "foreign", "missing")}
    assert codes == {"good": 0, "bad": 1, "corrupt": 2, "foreign": 2, "missing": 2}


def test_github_gets_annotations_and_a_summary(folder):
    run(row("deviates")).save(folder / "bad")
    result = called(folder / "bad", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(folder / "summary.md"))
    assert "::error title=mqproof gate::max_deviations" in result.stdout
    assert (folder / "summary.md").read_text().startswith("<!-- mqproof-gate -->")


def test_files_are_written_as_asked(folder):
    run().save(folder / "good")
    names = {"--junit": "j.xml", "--markdown": "m.md", "--badge": "b.json"}
    words = [word for option, name in names.items() for word in (option, folder / name)]
    assert called(folder / "good", "--json", *words).exit_code == 0
    assert all((folder / name).stat().st_size > 0 for name in names.values())
