"""The checkers on made-up histories: each known defect is found, and nothing is found where there is none."""

from collections.abc import Iterable

import pytest
from mqproof.harness.crash.history import Delivery, History, Sent


def history(
    sent: Iterable[tuple[int, str]],
    deliveries: Iterable[Delivery],
    *,
    settled: dict[int, float] | None = None,
    killed: Iterable[float] = (),
    promise: str = "at least once",
) -> History:
    books = {
        number: Sent(float(number), float(number) + 0.5 if state == "confirmed" else None, state == "refused")
        for number, state in sent
    }
    return History(promise, books, list(deliveries), dict(settled or {}), list(killed))  # type: ignore[arg-type]


def confirmed(count: int) -> list[tuple[int, str]]:
    return [(number, "confirmed") for number in range(count)]


def once(*numbers: int, at: float = 50.0, marked: bool = False, connection: int = 1) -> list[Delivery]:
    return [Delivery(number, at + place / 10, marked, connection) for place, number in enumerate(numbers)]


def kinds(history: History) -> dict[str, tuple[int, ...]]:
    return {problem.kind: problem.numbers for problem in history.problems()}


@pytest.mark.parametrize(
    "good",
    [
        history(confirmed(3), once(0, 1, 2)),
        history([*confirmed(2), (2, "unknown")], once(0, 1)),  # never confirmed: it may be lost
        history([*confirmed(2), (2, "unknown")], once(0, 1, 2)),  # or arrive
        history([*confirmed(2), (2, "refused")], once(0, 1)),
        history(confirmed(3), [*once(0, 1), *once(0, 1, 2, marked=True, connection=2, at=60)]),  # not settled
        history(confirmed(3), [*once(0, 1), *once(0, 1, 2, connection=2, at=60)]),  # the mark may be lost in a crash
        history(confirmed(3), [*once(0, 1, 2), *once(2, at=60, connection=2)], settled={2: 51.5}, killed=[52.0]),
        history(confirmed(3), once(0, 1, 2), promise="exactly once"),
        history(confirmed(4), [*once(0, 3), *once(1, 2, marked=True)]),  # marked: it was on its way before
    ],
)
def test_nothing_is_found_where_nothing_is_wrong(good: History) -> None:
    assert kinds(good) == {}


@pytest.mark.parametrize(
    ("bad", "kind", "numbers"),
    [
        (history(confirmed(4), once(0, 2, 3)), "confirmed-lost", (1,)),
        (history(confirmed(4), []), "confirmed-lost", (0, 1, 2, 3)),
        (history(confirmed(2), [*once(0, 1), *once(0, at=60)], settled={0: 55.0}), "acknowledged-back", (0,)),
        (
            history(confirmed(2), [*once(0, 1), *once(0, at=60, connection=2)], settled={0: 55.0}, killed=[58.0]),
            "acknowledged-back", (0,),
        ),
        (
            history(confirmed(2), [*once(0, 1), *once(0, at=60, connection=2)], settled={0: 55.0}, killed=[54.0]),
            "acknowledged-back", (0,),
        ),
        (history(confirmed(2), [*once(0, 1), *once(1, at=60)], promise="exactly once"), "duplicated", (1,)),
        (
            history(confirmed(2), [*once(0, 1), *once(1, at=60, marked=True, connection=2)], promise="exactly once"),
            "duplicated", (1,),
        ),
        (history(confirmed(3), once(0, 2, 1)), "reordered", (1,)),
        (history(confirmed(2), once(0, 1, 7)), "unexpected", (7,)),
        (history(confirmed(1), once(0, -1)), "unexpected", (-1,)),
    ],
)  # fmt: skip
def test_a_known_defect_is_found(bad: History, kind: str, numbers: tuple[int, ...]) -> None:
    assert kinds(bad) == {kind: numbers}


def test_the_ledger_has_the_same_numbers() -> None:
    made = history([*confirmed(3), (3, "refused"), (4, "unknown")], [*once(0, 1), *once(1, at=60)], settled={0: 55.0})
    assert made.numbers() == {
        "published": 5, "confirmed": 3, "refused": 1, "delivered": 2, "lost": 2, "confirmed_lost": 1,
        "duplicated": 1, "redelivered": 0, "settled": 1, "back": 0,
    }  # fmt: skip


def test_a_problem_is_told_in_a_line() -> None:
    (problem,) = history(confirmed(9), []).problems()
    assert str(problem) == "confirmed-lost: message 0, 1, 2, 3, 4 and 4 more"
