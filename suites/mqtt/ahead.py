"""Tests that wait on real time begin together, on threads, at the first test of a run, and are judged when their turn
comes, and so do tests that end with a short silence. Such a test is a function of its parameters and of ``wires``,
``wire``, ``topic`` and ``client_id``, under the decorator ``ahead``.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from inspect import signature
from typing import Any

from mqproof.harness.plugin.fixtures import Cleanup, Names
from mqproof.harness.plugin.selection import MQTT_SPECS
from mqproof.harness.plugin.state import state_of
from mqproof.harness.targets.target import Target
from mqproof.harness.wires.base import Transcript
from mqproof.suites.amqp.ahead import Conversations, ahead, is_ahead, settled

__all__ = ["MqttConversations", "MqttNames", "ahead", "is_ahead"]
THREADS = 64
FEW = 8  # for those that wait for moments only: more would be late for each other


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

    def end(self) -> None:
        """Drop what has not begun."""
        for pool in (self.pool, self.short):
            pool.shutdown(cancel_futures=True)

    def _begin(self, item: Any, target: Target) -> None:
        transcripts: list[Transcript] = []
        names = MqttNames(Names(state_of(item.config)), f"a{len(self.begun)}")
        test = item.function.conversation
        params = item.callspec.params
        asked = signature(test).parameters.keys()
        version = MQTT_SPECS[params["version"]]

        def converse() -> None:
            cleanup = Cleanup()
            try:
                with settled(target, transcripts):
                    wires = self.make_wires(target, version, names, cleanup, transcripts)
                    test(**{name: params[name] if name in params else given(name, wires) for name in asked})
            finally:
                cleanup.run()

        pool = self.short if item.get_closest_marker("slow") is None else self.pool
        self.begun[item.nodeid] = pool.submit(converse), transcripts


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
