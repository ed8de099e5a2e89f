"""The end of a run on the terminal: 80 columns, worst first, a reason for everything that does not conform."""

import io

from mqproof.harness.reporting.terminal import print_summary
from mqproof.harness.run import Run
from rich.console import Console


def row(identifier: str, verdict: str, **more: object) -> dict:
    return {
        "spec": "amqp-0-9-1", "id": identifier, "target": "rabbitmq-amqp", "verdict": verdict, "tests": ["t"],
        "expected": None, "actual": None, "reason": "", **more,
    }  # fmt: skip


def printed(*rows: dict, width: int = 200) -> str:
    output = io.StringIO()
    print_summary(Run(statements=list(rows)), Console(file=output, width=width, highlight=False))
    return output.getvalue()


def test_the_table_counts_by_target_and_suite():
    text = printed(row("3.1.3.3/words", "conforms"), row("basic/01", "conforms"), row("basic/02", "known-deviation"))
    line = next(line for line in text.splitlines() if line.startswith("rabbitmq-amqp"))
    assert line.split() == ["rabbitmq-amqp", "amqp-0-9-1", "2", "0", "1", "0", "0"]


def test_nothing_is_wider_than_80_columns():
    long = "word " * 100 + "x" * 300
    rows = [row("3.1.3.3/words", "deviates", expected=long, actual=long, reason=long)]
    rows += [row("basic/01", "inconclusive", reason=long, target="a-target-with-a-rather-long-name.example.org:5672")]
    assert max(map(len, printed(*rows).splitlines())) <= 80


def test_the_worst_deviation_comes_first_with_expected_and_actual():
    should, must = "domain.redelivered/implementation", "3.1.3.3/words"
    text = printed(
        row(should, "deviates", expected="a flag", actual="none"), row(must, "deviates", expected="[]", actual="[1]")
    )
    assert text.index(f"MUST  amqp-0-9-1:{must}") < text.index(f"SHOULD  amqp-0-9-1:{should}")
    assert "expected []" in text
    assert "actual   [1]" in text


def test_every_other_row_has_its_reason_and_rows_of_one_reason_are_one_group():
    rows = [row(f"basic/0{n}", "unsupported", reason="does not offer it") for n in range(1, 6)]
    text = " ".join(printed(*rows, row("confirm/x", "inconclusive", reason="no answer [came]")).split())
    assert "unsupported on rabbitmq-amqp, amqp-0-9-1: basic/01, basic/02, basic/03 and 2 more" in text
    assert text.count("does not offer it") == 1
    assert "no answer [came]" in text


def test_a_stale_profile_is_shown():
    text = printed(row("basic/01", "conforms", stale=True, reason="r"))
    assert "stale profile  on rabbitmq-amqp, amqp-0-9-1: basic/01" in text


def test_a_clean_run_prints_the_table_only():
    assert len(printed(row("basic/01", "conforms")).strip().splitlines()) <= 3


def test_a_target_that_no_test_is_for_is_named():
    output = io.StringIO()
    targets = [{"name": "rabbitmq-amqp"}, {"name": "mosquitto"}]
    run = Run(targets=targets, statements=[row("basic/01", "conforms")])
    print_summary(run, Console(file=output, width=80, highlight=False))
    assert "mosquitto was not examined: none of the chosen tests is for it" in output.getvalue()
    assert "rabbitmq-amqp was not" not in output.getvalue()
