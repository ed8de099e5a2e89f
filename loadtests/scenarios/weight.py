"""How heavy a run will be, and what it makes, before anything is made."""

import math

from mqproof.loadtests.engine.group import connections_of
from mqproof.loadtests.engine.traffic import Traffic
from mqproof.loadtests.scenarios.catalogue import stages_of
from mqproof.loadtests.settings import WELCOME_EMAIL, Settings


def heaviness(settings: Settings) -> tuple[float, int]:
    """Return messages per second and connections, both at their highest. A fleet says nothing between its storms."""
    if settings.scenario == WELCOME_EMAIL:
        return settings.users * settings.rate, settings.users + settings.workers
    rates, connections = [], []
    for stage in stages_of(settings):
        rates.append(sum(map(_highest, (stage, *stage.beside))))
        connections.append(connections_of(stage))
    return max(rates), max(connections)


def _highest(kind: Traffic) -> float:
    """Return the highest rate of one kind of traffic, messages per second."""
    is_bounded = kind.fleet or kind.is_paced
    return max(rate for _, rate in kind.phases) if is_bounded else math.inf


def things_to_make(settings: Settings) -> str:
    """Return in words what is made on the broker at the same time, at most."""
    if settings.scenario == WELCOME_EMAIL:
        return "one queue" if settings.target.protocol == "amqp" else "one topic"
    stages = [(stage, *stage.beside) for stage in stages_of(settings)]
    if settings.target.protocol == "mqtt":
        sessions = max(sum(kind.publishers for kind in kinds if kind.sessions or kind.reconnect) for kinds in stages)
        return f"topics{f' and {sessions} sessions' if sessions else ''}"
    queues = max(sum(kind.routes for kind in kinds) for kinds in stages)
    exchanges = max(sum(bool(kind.exchange) for kind in kinds) for kinds in stages)
    bindings = max(sum(kind.bindings for kind in kinds) for kinds in stages)
    found = f"{queues} queue{'s' if queues > 1 else ''}"
    found += f", {exchanges} exchange{'s' if exchanges > 1 else ''}" if exchanges else ""
    return found + (f", {bindings} bindings" if bindings else "")
