"""The page of a specification: every statement is on it, verdicts merge by the worst, nothing leaves its cell."""

import pytest
from mqproof.harness.cli.main import app
from mqproof.harness.reporting.conformance import cell, conformance_page
from mqproof.harness.run import BadRun, Run
from mqproof.harness.stability import summed_up, ways
from mqproof.harness.statements.registry import statements
from typer.testing import CliRunner

SPEC = "amqp-0-9-1"
WORDS = "3.1.3.3/words"
TARGET = {"name": "t", "url": "amqp://t:1", "protocol": "amqp", "product": "P", "version": "1", "capabilities": []}
PATH = "suites/amqp/test_x.py::test_y"


def run(verdict: str, reason: str = "", version: str = "1", second: int = 0) -> Run:
    row = {"spec": SPEC, "id": WORDS, "target": "t", "verdict": verdict, "reason": reason, "tests": [PATH]}
    test = {"id": PATH, "case": PATH, "target": "t", "statements": [f"{SPEC}:{WORDS}"], "outcome": verdict}
    return Run(
        started=f"2026-01-02T03:04:{second:02}.000Z",
        finished=f"2026-01-02T03:05:{second:02}.500Z",
        complete=True,
        targets=[TARGET | {"version": version}],
        statements=[row],
        tests=[test],
    )


def line_of(page: str, identifier: str) -> str:
    return next(line for line in page.splitlines() if line.startswith(f"| [`{identifier}`]"))


def test_every_statement_has_a_line_and_every_untestable_one_a_reason():
    page = conformance_page([SPEC], [run("conforms")], [])
    for statement in statements(SPEC):
        assert line_of(page, statement.id).count(" | ") == 3
        if statement.testable == "no":
            assert f"\n| `{statement.id}` | {cell(statement.reason)} |" in page
    assert line_of(page, WORDS).endswith("| conforms |")


def test_brokers_and_versions_have_columns_and_repeats_are_merged_by_the_worst():
    runs = [run("conforms"), run("deviates", "got # (https://t/1)"), run("known-deviation", "so", version="2")]
    page = conformance_page([SPEC], runs, [])
    assert line_of(page, WORDS).endswith("| **deviates** | **known** |")
    assert f"| P 1 | deviates | `{WORDS}` | got # ([link](https://t/1)) |" in page
    assert f"| P 2 | known | `{WORDS}` | so |" in page


def test_what_a_broker_says_stays_in_its_cell():
    page = conformance_page([SPEC], [run("deviates", "a | b\n# <script>`x` [y](z)")], [])
    assert f"| `{WORDS}` | a \\| b # &lt;script>'x' \\[y](z) |" in page


def test_the_page_shows_repeats_what_differed_and_the_commands():
    found = [run("conforms", second=1), run("deviates", second=2), run("conforms", second=3), run("conforms", second=4)]
    way = ways(1, 7, 0)
    result = summed_up(list(zip(way, found, strict=True)), "mqproof stability broker --runs 1", 2)
    page = conformance_page([SPEC], [*found, run("conforms", second=9)], [result])
    assert "| run 1 | 1 | 60.5 | 1 conforms |" in page
    assert "| random order, seed 7 | 1 | 60.5 | 1 deviates |" in page
    assert f"- `{SPEC}:{WORDS}` on t: 2 times conforms, 1 times deviates" in page
    assert (
        "\nmqproof stability broker --runs 1 --out RUNS-1\nmqproof test amqp://t:1 --suite amqp --out RUNS-2\n" in page
    )


def test_runs_without_verdicts_on_the_specification_are_refused(tmp_path):
    with pytest.raises(BadRun, match=r"none of these runs has verdicts on mqtt-5\.0"):
        conformance_page(["mqtt-5.0"], [run("conforms")], [])
    run("conforms").save(tmp_path)
    output = CliRunner().invoke(app, ["conformance", str(tmp_path), "--spec", "mqtt-9"])
    assert (output.exit_code, output.output.count("\n")) == (2, 1)
    assert CliRunner().invoke(app, ["conformance", str(tmp_path), "--spec", SPEC]).output == conformance_page(
        [SPEC], [run("conforms")], []
    )
