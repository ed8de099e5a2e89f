"""Faults run against the embedded brokers: every one is noticed, by a test that is green without it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from mqproof.harness.saboteur.core import FAULTS
from mqproof.harness.saboteur.markdown import faults_page
from mqproof.harness.saboteur.running import Shard, UnknownFault, chosen_faults, in_parts, load_faults, statements_of
from mqproof.harness.targets.target import Target

MQPROOF = (sys.executable, "-m", "mqproof.harness.cli")
FEWEST = 150  # faults


def run(*arguments: str, timeout: float) -> "subprocess.CompletedProcess[str]":
    command = (*MQPROOF, "faults", *arguments)
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def test_one_fault_is_killed_by_tests_of_the_statement_that_it_breaks() -> None:
    done = run("run", "--fault", "redelivered-unset", "--workers", "1", "--json", timeout=120)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["result"], row["overbroad"]) == ("killed", [])
    assert row["killed_by"]


def test_unknown_fault_is_one_line_and_exit_code_2() -> None:
    done = run("run", "--fault", "no-such-fault", timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["mqproof: no fault is called 'no-such-fault': 'mqproof faults list' shows them"]


def test_unreachable_target_is_exit_code_3() -> None:
    done = run("run", "--target", "amqp://127.0.0.1:1", timeout=60)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1


def test_chosen_faults_are_those_of_the_names_or_all() -> None:
    assert [spec.name for spec in chosen_faults(["redelivered-unset"])] == ["redelivered-unset"]
    assert len(chosen_faults([])) == len(FAULTS) >= FEWEST
    with pytest.raises(UnknownFault):
        chosen_faults(["no-such-fault"])


@pytest.mark.parametrize(("faults", "workers", "sizes"), [(5, 2, [3, 2]), (1, 4, [1]), (250, 1, [84, 83, 83])])
def test_parts_share_the_faults_and_the_control(faults: int, workers: int, sizes: list[int]) -> None:
    names = [str(number) for number in range(faults)]
    parts = in_parts(Shard([], names, [], []), workers)
    assert [len(part.faults) for part in parts] == sizes
    assert sorted(name for part in parts for name in part.faults) == sorted(names)
    assert [part.share for part in parts] == [(number, len(parts)) for number in range(len(parts))]
    assert all(part.beside == names for part in parts)


def test_control_is_for_the_statements_of_faults_that_can_stand_before_the_target() -> None:
    faults = chosen_faults(["redelivered-unset", "keep-alive-ignored", "keep-alive-0-watched"])
    broker = Target("broker", "mqtt", "127.0.0.1", 1, driver="mosquitto")
    assert statements_of(faults, broker) == {"mqtt-3.1.1:MQTT-3.1.2-24", "mqtt-5.0:MQTT-3.1.2-22"}
    assert "mqtt-5.0:MQTT-3.2.2-22" in statements_of(faults, broker.with_(driver="embedded"))


def test_page_of_faults_is_the_generated_one() -> None:
    load_faults()
    page = Path(__file__).parents[3] / "docs" / "faults.md"
    is_current = page.read_text(encoding="utf-8") == faults_page(FAULTS.values())
    assert is_current, "run: mqproof faults list --markdown > docs/faults.md"


@pytest.mark.whole_run
def test_every_fault_is_killed_on_the_embedded_brokers_and_every_test_kills_one() -> None:
    """Exit code 0: no survivor, none invalid, none overbroad, no test that kills nothing."""
    done = run("run", "--json", timeout=900)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    rows = {row["fault"]: row["result"] for row in json.loads(done.stdout)}
    assert set(rows.values()) == {"killed"}
    page = (Path(__file__).parents[3] / "docs" / "kill-table.md").read_text(encoding="utf-8")
    assert [name for name in rows if f"| {name} | killed |" not in page] == []
