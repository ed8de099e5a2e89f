"""What the preflight says of a run: how heavy it will be, and what it makes."""

import math
from typing import Any

import pytest
from mqproof.loadtests.scenarios.catalogue import with_defaults
from mqproof.loadtests.scenarios.weight import heaviness, things_to_make
from mqproof.loadtests.settings import Settings


def settings_for(scenario: str, protocol: str, **given: Any) -> Settings:
    return Settings(scenario, f"{protocol}://localhost", **with_defaults(scenario, given))


@pytest.mark.parametrize(
    ("scenario", "given", "rate"),
    [
        ("throughput", {}, math.inf),
        ("throughput", {"rate": 50.0}, 50.0),
        ("throughput", {"schedule": [[1.0, 100.0], [1.0, 0.0], [1.0, 40.0]]}, 100.0),  # the second phase is a pause
        ("throughput", {"schedule": [[1.0, 0.0]]}, math.inf),
        ("traffic-spike", {"rate": 100.0}, 1000.0),
        ("idle-connections", {}, 0.0),
        ("fleet-tracker", {"rate": 30.0}, 30.0),
        ("welcome-email", {"users": 3, "rate": 5.0}, 15.0),
    ],
)
def test_rate_is_the_highest_of_all_phases(scenario: str, given: dict[str, Any], rate: float) -> None:
    assert heaviness(settings_for(scenario, "amqp", **given))[0] == rate


@pytest.mark.parametrize(
    ("scenario", "given", "connections"),
    [
        ("throughput", {"users": 3, "workers": 2}, 5),
        ("scale-out", {"users": 2}, 10),  # the stage with eight workers
        ("idle-connections", {"users": 500}, 501),
        ("welcome-email", {"users": 3, "workers": 4}, 7),
    ],
)
def test_connections_are_those_of_the_largest_stage(scenario: str, given: dict[str, Any], connections: int) -> None:
    assert heaviness(settings_for(scenario, "amqp", **given))[1] == connections


@pytest.mark.parametrize(
    ("scenario", "protocol", "words"),
    [
        ("throughput", "amqp", "1 queue"),
        ("log-routing", "amqp", "3 queues, 1 exchange"),
        ("exchange-cost", "amqp", "1 queue, 1 exchange, 10000 bindings"),
        ("throughput", "mqtt", "topics"),
        ("alerts-qos1", "mqtt", "topics and 4 sessions"),
        ("welcome-email", "amqp", "one queue"),
    ],
)
def test_what_is_made_is_said_in_words(scenario: str, protocol: str, words: str) -> None:
    assert things_to_make(settings_for(scenario, protocol, duration=10.0)) == words
