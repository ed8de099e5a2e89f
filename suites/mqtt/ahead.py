"""Tests that wait on real time begin together, on threads, at the first test of a run, and are judged when their turn
comes, and so do tests that end with a short silence. Such a test is a function of its parameters and of ``wires``,
``wire``, ``topic`` and ``client_id``, under the decorator ``ahead``.

Where a short conversation neither conformed nor differed in a way that is known, it is held again when the test's turn
comes, with fewer others around: a broker that stumbles over many clients at once fails that, and not every statement.
One that waits on time is held again only where we were late ourselves.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from inspect import signature
from typing import Any

import pytest
from mqproof.harness.plugin.fixtures import Cleanup, Names
from mqproof.harness.plugin.selection import MQTT_SPECS
from mqproof.harness.plugin.state import state_of
from mqproof.harness.targets.profile import is_serial
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Blocked, Deviation, Late, Unsupported, Untested
from mqproof.harness.wires.base import Transcript
from mqproof.suites.amqp.ahead import Conversations, ahead, has_known, is_ahead, settled

__all__ = ["MqttConversations", "MqttNames", "ahead", "is_ahead"]
THREADS = 64
FEW = 8  # for those that wait for moments only: more would be late for each other
Converse = Callable[[list[Transcript]], None]


class MqttNames:
    """Names that no other test of the run has, although they are made on a thread."""

    def __init__(self, names: Names, label: str) -> None:
        self._names = names
        self._label = label
        self.prefix = names.prefix
        self.made = names.made

    def __call__(self, what: str = "name") -> str:
        """Return a new name."""
        return self._names(f"{what}-{self._label}")

    def client_id(self) -> str:
        """Return a new client identifier."""
        return self._names.client_id()


class MqttConversations(Conversations):
    """Conversations of one run; ``make_wires(target, version, names, cleanup, transcripts)``."""

    def __init__(self, make_wires: Callable[..., Any]) -> None:
        super().__init__(make_wires, pool=ThreadPoolExecutor(THREADS, "ahead"))
        self.short = ThreadPoolExecutor(FEW, "ahead")
        self.again: dict[str, Converse] = {}  # by item: what holds it again
        self.slow: dict[str, Converse] = {}  # the same of those that wait on time

    def end(self) -> None:
        """Drop what has not begun."""
        for pool in (self.pool, self.short):
            pool.shutdown(cancel_futures=True)

    def result(self, item: pytest.Item, transcripts: list[Transcript]) -> Callable[[], None]:
        """Return what waits for the item's conversation, or holds it again, and raises what it raised."""
        again = self.again.get(item.nodeid)
        if again is not None and item.nodeid not in self.begun:
            return lambda: again(transcripts)
        wait = super().result(item, transcripts)
        slow = self.slow.get(item.nodeid)
        if slow is not None:
            return lambda: in_time(wait, lambda: self._repeat(slow, transcripts))
        target = state_of(item.config).target(item.callspec.params["target"])  # type: ignore[attr-defined]
        if again is None or has_known(item, target):
            return wait
        return lambda: confirmed(wait, lambda: self._repeat(again, transcripts))

    def _repeat(self, again: Converse, transcripts: list[Transcript]) -> None:
        transcripts.clear()
        again(transcripts)

    def _begin(self, item: Any, target: Target) -> None:
        transcripts: list[Transcript] = []
        names = MqttNames(Names(state_of(item.config)), f"a{len(self.begun) + len(self.again)}")
        test = item.function.conversation
        params = item.callspec.params
        asked = signature(test).parameters.keys()
        version = MQTT_SPECS[params["version"]]
        is_known = has_known(item, target)

        def converse(said: list[Transcript]) -> None:
            cleanup = Cleanup()
            try:
                with settled(target, said, is_known=is_known):
                    wires = self.make_wires(target, version, names, cleanup, said)
                    test(**{name: params[name] if name in params else given(name, wires) for name in asked})
            finally:
                cleanup.run()

        is_short = item.get_closest_marker("slow") is None
        if is_short:
            self.again[item.nodeid] = converse
            if is_serial(target):
                return
        else:
            self.slow[item.nodeid] = converse
        self.begun[item.nodeid] = (self.short if is_short else self.pool).submit(converse, transcripts), transcripts


def confirmed(wait: Callable[[], None], again: Callable[[], None]) -> None:
    """Wait for a conversation; hold one that failed again, a few times where it is blocked.

    Raises what the last one raised, and Blocked for a deviation that was seen once and not again.
    """
    try:
        wait()
        return
    except (Unsupported, Untested):
        raise
    except (Deviation, AssertionError):
        has_differed = True
    except Exception:
        has_differed = False
    for is_last in (False, True):
        try:
            again()
            break
        except (Deviation, AssertionError, Unsupported, Untested):
            raise
        except Exception:
            if is_last:
                raise
    if has_differed:
        raise Blocked("the broker differed while many clients spoke to it, and did not when it was asked again")


def in_time(wait: Callable[[], None], again: Callable[[], None]) -> None:
    """Wait for a conversation; hold one in which we were late again, a few times. Raises what the last one raised."""
    for attempt in (wait, again):
        try:
            attempt()
            return
        except Late:
            pass
    again()


def given(name: str, wires: Any) -> Any:
    """Return what the fixture of this name gives to a test, for one that runs ahead."""
    make = {
        "wires": lambda: wires,
        "wire": wires,
        "topic": lambda: wires.names("topic"),
        "client_id": wires.names.client_id,
        "names": lambda: wires.names,
    }
    return make[name]()
