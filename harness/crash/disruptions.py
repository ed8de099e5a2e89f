"""What is done to a broker, or to the way to it, while a load runs."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from mqproof.harness.chaos.saboteur import Saboteur
from mqproof.harness.crash.history import History
from mqproof.harness.crash.load import Worker, wait_for
from mqproof.harness.targets.drivers.base import LocalBroker

PAUSE = 2.5  # seconds of SIGSTOP and of a partition: longer than clients wait, as a heartbeat of 1 s would
FULL = 10  # refused publishes after which a queue counts as full
FULL_DEADLINE = CUT_DEADLINE = 15.0  # seconds
QUEUE_LIMIT = 100  # messages that a queue or session may hold in the disruption "fill"


@dataclass(slots=True)
class Scene:
    """What a disruption acts on. ``saboteur`` stands between load and broker."""

    broker: LocalBroker
    saboteur: Saboteur
    histories: list[History]
    consumers: list[Worker]


def kill(scene: Scene) -> None:
    """Kill -9, and start again on the same files and ports."""
    scene.broker.kill()
    for history in scene.histories:
        history.killed.append(time.monotonic())
    scene.broker.restart("hard")


def pause(scene: Scene) -> None:
    """SIGSTOP for longer than any heartbeat."""
    scene.broker.pause()
    try:
        threading.Event().wait(PAUSE)
    finally:
        scene.broker.resume()


def cut(scene: Scene) -> None:
    """Reset every connection: those of the consumers one by one, as soon as something passes on each."""
    before = [(consumer, consumer.connections) for consumer in scene.consumers]
    with scene.saboteur.fault("reset") as fault:
        wait_for(lambda: fault.count >= 2 and all(each.connections > count for each, count in before), CUT_DEADLINE)


def partition(scene: Scene) -> None:
    """Let nothing pass between clients and broker for a while."""
    with scene.saboteur.fault("partition"):
        threading.Event().wait(PAUSE)


def fill(scene: Scene) -> None:
    """Keep the consumers away until queue or session are full."""
    for consumer in scene.consumers:
        consumer.waiting.set()
    began = {id(history): _confirmed(history) for history in scene.histories}

    def full() -> bool:
        return all(
            sum(sent.refused for sent in list(history.sent.values())) >= FULL
            or _confirmed(history) - began[id(history)] >= QUEUE_LIMIT * 3 // 2
            for history in scene.histories
        )

    wait_for(full, FULL_DEADLINE)
    for consumer in scene.consumers:
        consumer.waiting.clear()


def _confirmed(history: History) -> int:
    return sum(sent.confirmed is not None for sent in list(history.sent.values()))


DISRUPTIONS: dict[str, Callable[[Scene], None]] = {
    "kill": kill, "pause": pause, "cut": cut, "partition": partition, "fill": fill,
}  # fmt: skip
NEEDS_STORAGE = frozenset({"kill"})  # a broker in memory cannot keep what this asks for
