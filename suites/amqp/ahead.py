"""Tests that wait on real time begin together, on threads, at the first test of a run, and are judged when their turn
comes: twenty conversations of three seconds take three seconds.

Such a test is an ordinary function of ``wires`` and its parameters, under the decorator ``ahead``. What its failure
says is settled where it fails: the comparison, and whether the broker is still there.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from inspect import Parameter, signature
from typing import Any

import pytest
from mqproof.harness.plugin.accusation import keep_comparison
from mqproof.harness.plugin.admission import admit
from mqproof.harness.plugin.fixtures import Cleanup, Names
from mqproof.harness.plugin.presence import require_there
from mqproof.harness.plugin.running import test_id
from mqproof.harness.plugin.state import state_of
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Unsupported, Untested
from mqproof.harness.wires.amqp_link import least_patience
from mqproof.harness.wires.base import Transcript

THREADS = 48
GIVEN = ("wires", "wire", "topic", "client_id", "names")  # fixtures that a conversation may have: those of its suite
MakeWires = Callable[..., Any]  # of target, names, cleanup and transcripts; MQTT has the version before the names


def ahead(test: Callable[..., None]) -> Callable[..., None]:
    """Let ``test(wires, **parameters)`` run on a thread from the first test of the run on."""

    @wraps(test)
    def judged(ahead_result: Callable[[], None], **_: Any) -> None:
        ahead_result()

    judged.conversation = test  # type: ignore[attr-defined]
    own = [parameter for name, parameter in signature(test).parameters.items() if name not in GIVEN]
    asked = Parameter("ahead_result", Parameter.POSITIONAL_OR_KEYWORD)
    judged.__signature__ = signature(test).replace(parameters=[asked, *own])  # type: ignore[attr-defined]
    return judged


@dataclass(slots=True)
class Conversations:
    """The conversations that have begun, by item."""

    make_wires: MakeWires
    pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(THREADS, "ahead"))
    begun: dict[str, tuple[Future[None], list[Transcript]]] = field(default_factory=dict)
    targets: set[str] = field(default_factory=set)

    def begin_all(self, session: pytest.Session, target: Target) -> None:
        """Begin the conversations of all items for this target that have not begun yet.

        Before the faults of a kill table those that wait on real time begin at once, whatever the fault; the others
        begin when their turn comes, because most of them are left out.
        """
        if target.name in self.targets:
            return
        state = state_of(session.config)
        targets = state.targets if state.faults else [target]
        begin = {each.name: each for each in targets if each.protocol == target.protocol}
        self.targets.update(begin)
        for item in session.items:
            name = item.callspec.params.get("target") if is_ahead(item) else None  # type: ignore[attr-defined]
            is_first = not state.faults or item.get_closest_marker("slow") is not None
            if name in begin and is_first and _is_admitted(item):
                self._begin(item, begin[name])

    def _begin(self, item: Any, target: Target) -> None:
        transcripts: list[Transcript] = []
        label = f"a{len(self.begun)}"
        make_name = Names(state_of(item.config))
        test = item.function.conversation
        given = {name: value for name, value in item.callspec.params.items() if name in signature(test).parameters}
        is_known = has_known(item, target)

        def converse() -> None:
            cleanup = Cleanup()
            least_patience.set(1.0)
            try:
                with settled(target, transcripts, is_known=is_known):
                    wires = self.make_wires(target, lambda kind: make_name(f"{kind}-{label}"), cleanup, transcripts)
                    test(wires, **given)
            finally:
                cleanup.run()

        if set(signature(test).parameters) - set(given) != {"wires"}:
            raise TypeError(f"{item.nodeid}: a test that runs ahead has no fixture but wires")
        self.begun[item.nodeid] = self.pool.submit(converse), transcripts

    def result(self, item: pytest.Item, transcripts: list[Transcript]) -> Callable[[], None]:
        """Return what waits for the item's conversation and raises what it raised."""
        if item.nodeid not in self.begun:
            self._begin(item, state_of(item.config).target(item.callspec.params["target"]))  # type: ignore[attr-defined]
        future, said = self.begun[item.nodeid]

        def wait() -> None:
            try:
                future.result()
            finally:
                transcripts.extend(said)

        return wait


@contextmanager
def settled(target: Target, transcripts: list[Transcript], *, is_known: bool = False) -> Iterator[None]:
    """Settle what a failure says while it is fresh: until it is judged, others fail and the broker may have gone.

    Raises Blocked in the failure's place where the broker takes no connection any more, and accuses it: not where
    ``is_known``.
    """
    try:
        yield
    except Exception as error:
        keep_comparison(error)
        if not is_known:
            require_there(error, target, transcripts)
        raise


def has_known(item: pytest.Item, target: Target) -> bool:
    """Whether a profile of the target knows of a deviation in this test."""
    return any(each.covers(each.statement, test_id(item)) for each in state_of(item.config).known(target.name))


def _is_admitted(item: pytest.Item) -> bool:
    try:
        admit(item, state_of(item.config))
    except (Unsupported, Untested):
        return False
    return True


def is_ahead(item: pytest.Item) -> bool:
    """Whether the item's test runs ahead."""
    return hasattr(getattr(item, "function", None), "conversation")
