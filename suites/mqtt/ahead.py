"""Tests that wait on real time begin together, on threads, at the first test of a run, and are judged when their turn
comes. Such a test is a function of ``wires`` and its parameters, under the decorator ``ahead``.
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
from mqproof.suites.amqp.ahead import Conversations, ahead, is_ahead

__all__ = ["MqttConversations", "MqttNames", "ahead", "is_ahead"]
THREADS = 64


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

    def _begin(self, item: Any, target: Target) -> None:
        transcripts: list[Transcript] = []
        names = MqttNames(Names(state_of(item.config)), f"a{len(self.begun)}")
        test = item.function.conversation
        params = item.callspec.params
        given = {name: value for name, value in params.items() if name in signature(test).parameters}
        version = MQTT_SPECS[params["version"]]

        def converse() -> None:
            cleanup = Cleanup()
            try:
                test(self.make_wires(target, version, names, cleanup, transcripts), **given)
            finally:
                cleanup.run()

        self.begun[item.nodeid] = self.pool.submit(converse), transcripts
