"""The kill table tells killed, survived, invalid and overbroad apart."""

from collections.abc import Iterator
from typing import Any

import pytest
from mqproof.harness.saboteur.core import FAULTS, FaultSpec
from mqproof.harness.saboteur.kill_table import KillTable, explanations, fault_of, tabulate
from mqproof.harness.saboteur.markdown import table_page
from mqproof.harness.saboteur.running import load_faults
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.target import Target

BROKEN = "amqp-0-9-1:3.1.3.3/words"
OTHER = "amqp-0-9-1:3.1.3.1/match"


@pytest.fixture(autouse=True)
def one_fault() -> Iterator[None]:
    FAULTS["a-fault"] = FaultSpec("a-fault", (BROKEN,), "breaks topics", "amqp")
    yield
    del FAULTS["a-fault"]


def record(function: str, target: str, verdict: str, statement: str = BROKEN) -> dict[str, Any]:
    return {"function": function, "target": target, "outcome": verdict, "verdicts": {statement: [verdict, ""]}}


def table(*records: dict[str, Any], sanity: str = "sane") -> KillTable:
    return tabulate(["a-fault"], records, frozenset({sanity}))


def test_deviation_from_the_broken_statement_kills() -> None:
    made = table(record("t", "embedded", "conforms"), record("t", "embedded~a-fault", "deviates"))
    assert made.rows[0].plain()["result"] == "killed"
    assert made.rows[0].killed_by == ["t"]
    assert made.is_clean


def test_fault_that_met_only_unsupported_tests_is_no_survivor() -> None:
    made = table(record("t", "embedded", "unsupported"), record("t", "embedded~a-fault", "unsupported"))
    assert (made.rows, made.unmet) == ([], ["a-fault"])


@pytest.mark.parametrize("verdict", ["conforms", "inconclusive"])
def test_anything_but_an_accusation_lets_the_fault_survive(verdict: str) -> None:
    made = table(record("t", "embedded", "conforms"), record("t", "embedded~a-fault", verdict))
    assert made.rows[0].result == "survived"
    assert not made.is_clean


def test_accusation_of_another_statement_is_no_kill() -> None:
    made = table(record("t", "embedded", "conforms"), record("t", "embedded~a-fault", "deviates", OTHER))
    assert made.rows[0].result == "survived"


@pytest.mark.parametrize("verdict", ["deviates", "inconclusive"])
def test_control_that_failed_makes_the_kill_invalid(verdict: str) -> None:
    made = table(record("t", "embedded", verdict), record("t", "embedded~a-fault", "deviates"))
    assert made.rows[0].result == "invalid"
    assert made.rows[0].control_failed == ["t"]


@pytest.mark.parametrize("verdict", ["deviates", "inconclusive"])
def test_fault_that_turns_a_sanity_test_red_is_overbroad(verdict: str) -> None:
    made = table(
        record("t", "embedded", "conforms"),
        record("t", "embedded~a-fault", "deviates"),
        record("sane", "embedded", "conforms", OTHER),
        record("sane", "embedded~a-fault", verdict, OTHER),
    )
    assert made.rows[0].overbroad == ["sane"]
    assert not made.is_clean


def test_test_that_no_fault_kills_is_named() -> None:
    made = table(
        record("t", "embedded", "conforms"),
        record("t", "embedded~a-fault", "deviates"),
        record("idle", "embedded", "conforms", OTHER),
    )
    assert made.immortal == ["idle"]
    assert not made.is_clean


def test_test_that_needs_what_the_target_lacks_is_named_apart() -> None:
    made = table(
        record("t", "embedded", "conforms"),
        record("t", "embedded~a-fault", "deviates"),
        record("needy", "embedded", "unsupported"),
        record("needy", "embedded~a-fault", "unsupported"),
        record("knows", "embedded", "known-deviation"),
    )
    assert (made.killers, made.unfit, made.immortal) == (["t"], ["needy"], [])
    page = table_page(made, ["embedded"])
    assert "1 tests kill a fault, none of those that ran kills nothing." in page
    assert "## Tests without what they need\n\n- `needy`" in page


def test_page_lists_the_tests_that_no_fault_kills() -> None:
    made = table(record("idle", "embedded", "conforms"), record("idle", "embedded~a-fault", "conforms"))
    page = table_page(made, ["embedded"])
    assert "1 of those that ran kills nothing." in page
    assert "## Tests that no fault kills\n\n- `idle`" in page


def test_page_counts_the_tests_that_only_defects_of_the_embedded_brokers_kill() -> None:
    made = table(record("t", "rabbitmq", "conforms"), record("t", "rabbitmq~a-fault", "deviates"))
    made.elsewhere = ["idle"]
    assert "none of those that ran kills nothing (1 kill faults of the embedded brokers only)." in table_page(made, [])


def test_sanity_tests_need_no_fault() -> None:
    made = table(
        record("t", "embedded", "conforms"),
        record("t", "embedded~a-fault", "deviates"),
        record("sane", "embedded", "conforms", OTHER),
    )
    assert made.is_clean


def test_parameters_of_one_function_count_once() -> None:
    made = table(
        record("t", "embedded", "conforms"),
        record("t", "embedded~a-fault", "conforms"),
        record("t", "embedded~a-fault", "deviates"),
        record("t", "embedded~a-fault", "deviates"),
    )
    assert made.rows[0].killed_by == ["t"]


def test_target_of_the_control_has_no_fault() -> None:
    assert (fault_of("rabbitmq-amqp"), fault_of("rabbitmq-amqp~lost")) == ("", "lost")


def test_every_explanation_is_of_a_fault_that_exists() -> None:
    load_faults()
    explained = explanations([Target(name, "amqp", "127.0.0.1", 1, driver=name) for name in DRIVERS])
    assert set(explained) <= set(FAULTS)
    assert explained
    assert [name for name, reason in explained.items() if not reason.strip().endswith(".")] == []


def test_a_survivor_is_clean_only_with_its_reason() -> None:
    records = [record("t", "b", "unsupported"), record("t", "b~a-fault", "conforms")]
    assert not tabulate(["a-fault"], records, frozenset()).is_clean
    assert tabulate(["a-fault"], records, frozenset(), {"a-fault": "It is so."}).is_clean
