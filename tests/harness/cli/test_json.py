"""Every command that prints can print JSON, and what it then prints is JSON and nothing else."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mqproof.harness.cli.main import COMMANDS, command_of

Command = Callable[..., subprocess.CompletedProcess[str]]
NOISY = "import os, socket; print('noise'); socket.create_connection(('127.0.0.1', int(os.environ['MQPROOF_PORT'])))"
TARGET = {"name": "t", "url": "amqp://t:1", "protocol": "amqp", "product": "P", "version": "1", "capabilities": []}


def leaves(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield the command, or those that stand below it."""
    below = getattr(command, "commands", None)
    if below is None:
        yield name, command
    for inner, each in (below or {}).items():
        yield from leaves(f"{name} {inner}", each)


LEAVES = dict(each for name in COMMANDS for each in leaves(name, command_of(name)))


@pytest.mark.parametrize("name", LEAVES)
def test_every_command_takes_json(name: str) -> None:
    (option,) = [one for one in LEAVES[name].params if "--json" in one.opts]
    assert option.is_flag or option.metavar == "OUT"
    assert option.help


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run directory with one verdict."""
    test = {"id": "suites/x", "case": "x", "target": "t", "statements": ["amqp-0-9-1:3.1.3.3/words"]}
    row = {"spec": "amqp-0-9-1", "id": "3.1.3.3/words", "target": "t", "tests": ["suites/x"], "expected": None}
    verdict = {"reason": "why", "actual": None}
    run = {
        "schema": 1, "tool": {"name": "mqproof", "version": "0"}, "targets": [TARGET], "complete": True, "planned": 1,
        "started": "2026-01-01T00:00:00Z", "finished": "2026-01-01T00:00:01Z",
        "tests": [test | verdict | {"outcome": "deviates", "duration_s": 0.0, "expected": None}],
        "statements": [row | verdict | {"verdict": "deviates"}],
    }  # fmt: skip
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text(json.dumps(run))
    return tmp_path / "run"


def test_conformance_prints_each_verdict_and_writes_the_page_besides(mqproof: Command, run: Path) -> None:
    done = mqproof("conformance", run, "--spec", "amqp-0-9-1", "--json", "-o", run / "page.md")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    rows = {row["id"]: row for row in data["statements"]}
    words = rows["3.1.3.3/words"]
    assert (words["verdicts"], words["reasons"]) == ({"P 1": "deviates"}, {"P 1": "why"})
    assert [(broker["broker"], broker["tests"]) for broker in data["brokers"]] == [("P 1", 1)]
    assert len(rows) > 100
    assert (run / "page.md").read_text().startswith("# ")


def test_the_list_of_sabotage_says_what_each_fault_does(mqproof: Command) -> None:
    rows = json.loads(mqproof("sabotage", "--list", "--json").stdout)
    assert {"lost-publish", "latency", "early-packets-kept"} <= {row["name"] for row in rows}
    assert all(row["group"] and row["says"] for row in rows)


def test_client_test_keeps_what_the_client_prints_out_of_its_json(mqproof: Command, tmp_path: Path) -> None:
    words = ("--protocol", "amqp", "--situation", "plain", "--out", tmp_path, "--json")
    done = mqproof("client-test", *words, "--", sys.executable, "-c", NOISY)
    data = json.loads(done.stdout)
    assert "noise" in done.stderr
    assert data["folder"] == str(tmp_path)
    assert {row["verdict"] for row in data["statements"]} <= {"conforms", "deviates", "untested"}


def test_crash_prints_its_numbers(mqproof: Command, tmp_path: Path) -> None:
    done = mqproof("crash", "embedded-amqp", "--disruption", "cut", "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["disruptions"]
    assert (row["target"], row["disruption"], row["verdict"]) == ("embedded-amqp", "cut", "conforms")
    assert row["numbers"]["confirmed"] >= 200


def test_clean_says_how_many_things_it_removed(mqproof: Command, embedded: Any) -> None:
    target = embedded.target("amqp")
    done = mqproof("clean", target.url, "--json")
    assert (json.loads(done.stdout)["removed"], done.returncode) == (0, 0)


def test_runs_alone_lists_them(mqproof: Command, run: Path, tmp_path: Path) -> None:
    (tmp_path / "mqproof-runs").mkdir()
    run.rename(tmp_path / "mqproof-runs" / "one")
    alone, named = mqproof("runs", cwd=tmp_path), mqproof("runs", "list", cwd=tmp_path)
    assert (alone.returncode, alone.stdout) == (0, named.stdout)
    (row,) = json.loads(mqproof("runs", "--json", cwd=tmp_path).stdout)
    assert (row["run"], row["verdicts"]) == ("mqproof-runs/one", {"deviates": 1})
    refused = mqproof("runs", "--json", "list", cwd=tmp_path)
    assert (refused.returncode, "mqproof runs list --json" in refused.stderr) == (2, True)
