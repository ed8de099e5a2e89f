"""``mqproof statements``: what other tools read, and an index of tests that is never out of date."""

import json
from importlib.resources import files

import pytest
from mqproof.harness.cli.main import app
from mqproof.harness.statements.registry import load
from typer.testing import CliRunner

FIELDS = {"spec", "source", "id", "section", "level", "actor", "testable", "summary", "reason", "tests"}


def called(*arguments: str):
    return CliRunner().invoke(app, ["statements", *arguments])


def test_json_lists_every_statement_with_all_fields():
    rows = json.loads(called("--json").stdout)
    assert len(rows) == len(load())
    assert all(row.keys() == FIELDS for row in rows)
    assert {row["source"] for row in rows} == {"rules", "prose", "extension", "standard"}
    assert {row["testable"] for row in rows} == {"yes", "partly", "no"}


def test_a_statement_names_its_tests():
    rows = {row["id"]: row for row in json.loads(called("--spec", "amqp-0-9-1", "--json").stdout)}
    assert any("test_3_1_3_3_topic_exchange.py::" in test for test in rows["3.1.3.3/words"]["tests"])


def test_untested_leaves_out_what_has_tests():
    rows = json.loads(called("--spec", "amqp-0-9-1", "--json").stdout)
    left = [row for row in rows if not row["tests"]]
    assert 0 < len(left) < len(rows)
    assert json.loads(called("--spec", "amqp-0-9-1", "--untested", "--json").stdout) == left


def test_an_unknown_specification_is_one_line():
    result = called("--spec", "amqp-1.0")
    assert result.exit_code == 2
    assert "there are amqp-0-9-1, mqtt-3.1.1, mqtt-5.0" in result.stderr


def test_the_table_ends_with_the_coverage():
    assert called("--spec", "mqtt-3.1.1").stdout.rstrip().splitlines()[-1].startswith("141 statements, ")


@pytest.mark.whole_run
def test_the_index_is_what_the_suites_say():
    """In a process of its own: the suites are collected by a pytest inside this one otherwise."""
    import subprocess
    import sys

    code = "from mqproof.harness.cli.indexing import generated_index as index; import sys; sys.stdout.write(index())"
    fresh = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120, check=True)
    committed = files("mqproof.harness.statements").joinpath("tests.json").read_text(encoding="utf-8")
    assert json.loads(committed) == json.loads(fresh.stdout), "run: mqproof statements --write-index"


def test_no_id_is_cut_on_a_narrow_terminal():
    said = CliRunner().invoke(app, ["statements", "--spec", "amqp-0-9-1"], env={"COLUMNS": "60"}).stdout
    ids = {f"{row['spec']}:{row['id']}" for row in json.loads(called("--spec", "amqp-0-9-1", "--json").stdout)}
    assert ids <= set(said.split())
