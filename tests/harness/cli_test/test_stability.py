"""Repeats: what differs between them is named, and a run that fails ends them with its own words."""

import json

import pytest
from mqproof.harness.cli.main import app
from mqproof.harness.run import Run
from mqproof.harness.stability import Way, load_stability, summed_up
from typer.testing import CliRunner

TEST = "test_close_of_a_channel_is_answered_by_close_ok"


def run(*verdicts: str) -> Run:
    rows = [{"target": "t", "spec": "s", "id": str(number), "verdict": word} for number, word in enumerate(verdicts)]
    tests = [{"target": "t", "case": row["id"], "outcome": row["verdict"]} for row in rows]
    return Run(finished=Run().started, complete=True, statements=rows, tests=tests)


def test_verdicts_that_differ_are_counted_and_missing_ones_too(tmp_path):
    found = [(Way("1"), run("conforms", "conforms")), (Way("2"), run("inconclusive", "conforms"))]
    found.append((Way("3"), run("conforms")))
    result = summed_up(found, "c", 2)
    assert [(row.id, row.verdicts) for row in result.statements] == [
        ("s:0", {"conforms": 2, "inconclusive": 1}),
        ("s:1", {"conforms": 2, "missing": 1}),
    ]
    assert [(row.id, row.verdicts) for row in result.tests] == [("0", {"conforms": 2, "inconclusive": 1})]
    assert not result.is_stable
    result.save(tmp_path)
    assert load_stability(tmp_path) == result


def test_a_quick_run_is_compared_by_test_only():
    found = [(Way("1"), run("conforms", "conforms")), (Way("2", quick=True), run("conforms"))]
    assert summed_up(found, "c", 2).is_stable


@pytest.mark.whole_run
def test_repeats_on_the_embedded_broker_say_the_same(tmp_path):
    folder = tmp_path / "repeats"
    arguments = ["stability", "embedded", "--suite", "amqp", "--runs", "2", "-k", TEST, "--workers", "1"]
    output = CliRunner().invoke(app, [*arguments, "--out", str(folder), "--json"])
    assert output.exit_code == 0, output.output
    printed = json.loads(output.stdout)
    assert (printed["is_stable"], printed["folder"]) == (True, str(folder))
    data = json.loads((folder / "stability.json").read_text())
    assert printed["repeats"] == data["repeats"]
    assert [repeat["name"] for repeat in data["repeats"]] == [
        "run 1", "run 2", "random order, seed 1", "8 workers", "--quick",
    ]  # fmt: skip
    assert all(repeat["tests"] == 1 and repeat["verdicts"] == {"conforms": 1} for repeat in data["repeats"])
    assert CliRunner().invoke(app, [*arguments, "--out", str(folder)]).exit_code == 2


def test_a_target_that_cannot_be_reached_ends_the_repeats_with_one_line(tmp_path):
    output = CliRunner().invoke(app, ["stability", "amqp://127.0.0.1:1", "--out", str(tmp_path)])
    assert output.exit_code == 3
    assert output.output.count("\n") == 1
    assert output.output.startswith("mqproof: ")
    assert "127.0.0.1" in output.output
