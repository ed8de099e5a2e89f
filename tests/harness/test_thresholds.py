"""Thresholds on a load, and what a broker promises without any."""

from typing import Any

import pytest
from mqproof.harness.thresholds import EXACTLY_ONCE, BadThreshold, Thresholds

KEPT = {"lost": 0, "duplicated": 0, "corrupted": 0, "unexpected": 0, "confirmed_lost": 0}


def result(promise: str = "at least once", **found: int) -> dict[str, Any]:
    ledger = KEPT | found
    metrics = {"latency_us": {"p99": 900}, "delivery_rate_msg_s": 50.0}
    return {"metrics": metrics, "ledger": ledger, "stages": [{"promise": promise, "ledger": ledger}]}


def broken(found: dict[str, Any], thresholds: Thresholds | None = None) -> dict[str, int]:
    rows = (thresholds or Thresholds()).check(found)
    return {row["rule"]: row["value"] for row in rows if not row["passes"]}


def test_what_keeps_its_promises_has_no_rows() -> None:
    assert Thresholds().check(result()) == []


def test_a_confirmed_message_that_is_lost_breaks_a_promise() -> None:
    assert broken(result(lost=3, confirmed_lost=2)) == {"confirmed but lost": 2}


def test_a_loss_that_was_never_confirmed_or_has_a_cause_breaks_none() -> None:
    assert broken(result(lost=3)) == {}


@pytest.mark.parametrize(("bound", "missed"), [(3, {}), (2, {"lost": 3})])
def test_a_bound_on_losses_stands_instead_of_the_promise(bound: int, missed: dict[str, int]) -> None:
    assert broken(result(lost=3, confirmed_lost=2), Thresholds(max_lost=bound)) == missed


@pytest.mark.parametrize("fault", ["corrupted", "unexpected"])
def test_what_was_never_sent_so_is_never_allowed(fault: str) -> None:
    assert broken(result(**{fault: 1}), Thresholds(max_lost=5, max_duplicated=5)) == {fault: 1}


def test_repeats_break_a_promise_only_where_exactly_once_was_promised() -> None:
    assert broken(result(duplicated=4)) == {}
    assert broken(result(EXACTLY_ONCE, duplicated=4)) == {"duplicated at exactly once": 4}
    assert broken(result(EXACTLY_ONCE, duplicated=4), Thresholds(max_duplicated=4)) == {}
    assert broken(result(duplicated=4), Thresholds(max_duplicated=3)) == {"duplicated": 4}


def test_a_load_without_stages_promises_no_exactly_once() -> None:
    assert broken({key: value for key, value in result(duplicated=1).items() if key != "stages"}) == {}


def test_bounds_on_time_and_rate() -> None:
    assert broken(result(), Thresholds(max_p99="0.8ms", min_rate=51.0)) == {
        "p99 (us)": 900, "delivery rate (msg/s)": 50.0,
    }  # fmt: skip
    assert broken(result(), Thresholds(max_p99="0.9ms", min_rate=50.0)) == {}


@pytest.mark.parametrize("bound", [{"max_lost": -1}, {"max_duplicated": -3}, {"min_rate": float("nan")}])
def test_a_bound_that_nothing_can_keep_is_refused(bound: dict[str, Any]) -> None:
    with pytest.raises(BadThreshold, match="0 or more"):
        Thresholds(**bound).check_wording()
