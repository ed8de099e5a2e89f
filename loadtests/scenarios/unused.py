"""Options that change nothing in a scenario, found by trying: they are named, and left out of the result.

An option counts as used where two of its values make a scenario's stages differ. What no stage shows stands apart: what
the other protocol alone has, and ``--window``, which only traffic without a rate looks at.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from mqproof.loadtests.engine.traffic import Traffic
from mqproof.loadtests.scenarios.catalogue import BOTH, scenario_of
from mqproof.loadtests.scenarios.refusals import refuse_contradictions
from mqproof.loadtests.settings import WELCOME_EMAIL, Settings

TRIED: dict[str, tuple[Any, ...]] = {
    "users": (2, 7), "rate": (70.0, 77.0), "schedule": ([[1.0, 5.0]], [[1.0, 7.0]]), "ramp": (1.0, 2.0),
    "payload": (100, 200), "sizes": ([100], [200]), "template": ("eA==", "eQ=="), "work": (0.01, 0.02),
    "consumer_rate": (5.0, 7.0), "workers": (2, 7), "queues": (2, 7), "qos": (0, 1), "mqtt_version": ("3.1.1", "5.0"),
    "confirm": (False, True), "max_unconfirmed": (5, 7), "prefetch": (5, 7), "multi_ack": (2, 3), "nack_every": (5, 7),
    "poll": (0.1, 0.2), "window": (50, 70), "persistent": (False, True), "queue_type": ("classic", "quorum"),
    "queue_arguments": ({"x": 1}, {"x": 2}), "exchange": ("topic", "headers"), "properties": ({}, {"priority": 1}),
    "keep_alive": (5, 7), "connect_rate": (5.0, 7.0), "shared": (False, True),
}  # fmt: skip
WELCOME_USES = {"users", "rate", "payload", "work", "workers", "qos", "confirm", "prefetch"}
ONLY = {"qos": "mqtt", "confirm": "amqp", "prefetch": "amqp"}  # what stages of both protocols carry, and one looks at
SPELT = {
    "schedule": "--variable-rate", "template": "--payload-file", "confirm": "--no-confirm", "properties": "--property",
    "queue_arguments": "--queue-argument",
}  # fmt: skip


def unused(scenario: str, numbers: dict[str, Any], given: Iterable[str], protocols: Iterable[str]) -> list[str]:
    """Return which of the settings that were ``given`` change nothing on targets of these protocols.

    ``numbers``: all settings of the run. Raises BadSettings where they contradict each other, and BadWorkload.
    """
    fitting = BOTH if scenario == WELCOME_EMAIL else scenario_of(scenario).protocols
    offered = [protocol for protocol in protocols if protocol in fitting] or fitting
    runs = [Settings(scenario, f"{protocol}://localhost", **numbers) for protocol in offered]
    for settings in runs if scenario != WELCOME_EMAIL else ():
        refuse_contradictions(settings)
    return [name for name in given if name in TRIED and not any(_is_used(name, settings) for settings in runs)]


def _is_used(name: str, settings: Settings) -> bool:
    if ONLY.get(name, settings.target.protocol) != settings.target.protocol:
        return False
    if settings.scenario == WELCOME_EMAIL:
        return name in WELCOME_USES
    # A mean pace of consumers stands for work: each is looked at without the other.
    alone = replace(settings, work=0.0, consumer_rate=0.0) if name in ("work", "consumer_rate") else settings
    first, second = (_kinds(replace(alone, **{name: value})) for value in TRIED[name])
    if name == "window":
        return any(not kind.fleet and not kind.is_paced for kind in first)
    return first != second


def _kinds(settings: Settings) -> list[Traffic]:
    """Return all kinds of traffic; how many are in flight follows from the QoS, and is looked at by itself."""
    stages = scenario_of(settings.scenario).stages(settings)
    return [kind.with_(window=settings.window, beside=()) for stage in stages for kind in (stage, *stage.beside)]


def spelt(name: str) -> str:
    """Return a setting as the command line spells it."""
    return SPELT.get(name, f"--{name.replace('_', '-')}")
