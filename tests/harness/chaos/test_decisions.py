"""The same seed decides the same; scenarios are read as they are written."""

from pathlib import Path

import pytest
from mqproof.harness.chaos.decisions import Decisions, Event, Replay
from mqproof.harness.chaos.scenario import BadScenario, Plan, Scenario, filters, parse_fault, read, seconds

KNOWN = ("lost-delivery", "latency", "bandwidth")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def chosen(decisions: Decisions, routes: list[str]) -> set[tuple[str, int]]:
    found = set()
    for route in routes:
        number = decisions.count(route)
        plans = decisions.active(["lost-delivery"])
        if plan := decisions.choose(plans, route, number, {"queue": route}):
            decisions.note(1, route, number, plan.fault)
            found.add((route, number))
    return found


def scenario(seed: int = 7, **more: object) -> Scenario:
    return Scenario((Plan("lost-delivery", probability=0.3, **more),), seed)  # type: ignore[arg-type]


def test_the_same_seed_meets_the_same_messages_however_routes_interleave() -> None:
    one = chosen(Decisions(scenario()), ["a"] * 50 + ["b"] * 50)
    other = chosen(Decisions(scenario()), ["b", "a"] * 50)
    assert one == other
    assert 15 <= len(one) <= 45


def test_another_seed_meets_others() -> None:
    assert chosen(Decisions(scenario(7)), ["a"] * 100) != chosen(Decisions(scenario(8)), ["a"] * 100)


def test_a_transcript_repeats_what_time_decided() -> None:
    clock, events = Clock(), list[Event]()
    decisions = Decisions(Scenario((Plan("lost-delivery", after=5.0),)), events.append, clock=clock)
    first = chosen(decisions, ["a"] * 3)
    clock.now = 5.0
    first |= chosen(decisions, ["a"] * 3)
    replay = Replay(event.as_json() for event in events)
    again = Decisions(Scenario((Plan("lost-delivery"),)), replay=replay)
    assert first == {("a", 4), ("a", 5), ("a", 6)}
    assert chosen(again, ["a"] * 6) == first


def test_faults_begin_and_end_in_time() -> None:
    clock = Clock()
    decisions = Decisions(Scenario((Plan("lost-delivery", after=1.0, until=2.0),)), clock=clock)
    found = []
    for clock.now in (0.5, 1.0, 1.9, 2.0):
        found.append(bool(decisions.active(["lost-delivery"])))
    assert found == [False, True, True, False]


def test_a_scenario_survives_its_own_file(tmp_path: Path) -> None:
    plans = (
        Plan("lost-delivery", 0.25, 1.0, 31.5, {"queue": "orders", "key": 'a"*'}),
        Plan("latency", options={"delay": 0.1, "jitter": 0.02}),
        Plan("bandwidth", options={"rate": 10_000.0}),
    )
    (tmp_path / "s.toml").write_text(Scenario(plans, 42).as_toml())
    assert read(tmp_path / "s.toml", KNOWN) == Scenario(plans, 42)


def test_phases_follow_one_another(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        'seed = 3\n[[phase]]\nname = "calm"\nfor = "30s"\n'
        '[[phase]]\nfor = "1m"\nfaults = [{name = "latency", delay = "200ms"}]\n'
        '[[phase]]\nfaults = [{name = "lost-delivery", probability = 0.5}]\n'
    )
    found = read(tmp_path / "s.toml", KNOWN)
    assert found.plans == (
        Plan("latency", 1.0, 30.0, 90.0, options={"delay": 0.2}),
        Plan("lost-delivery", 0.5, 90.0, None),
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed = 1.5", "whole number"),
        ("sed = 1", "'sed' has no meaning"),
        ("fault = 3", "write [[fault]]"),
        ('[[fault]]\nname = "nix"', "no fault is called 'nix'"),
        ('[[fault]]\nname = "latency"\nprobability = 2', "not between 0 and 1"),
        ('[[fault]]\nname = "latency"\nprobability = true', "not between 0 and 1"),
        ('[[fault]]\nname = "latency"\ndelay = "soon"', "'soon' is no time"),
        ('[[fault]]\nname = "latency"\nonly = "colour=red"', "is no filter"),
        ('[[fault]]\nname = "bandwidth"\nrate = "0"', "is no rate"),
        ('[[phase]]\nfaults = []\n[[phase]]\nfor = "1s"', "phase 1 needs for"),
        ('[[phase]]\nfor = "1s"\nfaults = ["latency"]', "write faults ="),
        ("[[", "is no scenario: "),
    ],
)
def test_what_cannot_be_played_is_refused_in_one_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "s.toml").write_text(text)
    with pytest.raises(BadScenario) as refused:
        read(tmp_path / "s.toml", KNOWN)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_words_on_the_command_line_make_a_plan() -> None:
    plan = parse_fault("latency:delay=250ms,probability=0.5", KNOWN, after=3.0, only="queue=a*")
    assert plan == Plan("latency", 0.5, 3.0, None, {"queue": "a*"}, {"delay": 0.25})
    assert (seconds("2m", ""), seconds(1.5, ""), seconds("250ms", "")) == (120.0, 1.5, 0.25)
    assert filters("queue=a, key=b.*", "") == {"queue": "a", "key": "b.*"}
    with pytest.raises(BadScenario, match="OPTION=VALUE"):
        parse_fault("latency:slow", KNOWN)
