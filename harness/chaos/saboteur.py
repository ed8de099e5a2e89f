"""The saboteur that stands before a user's broker: for the command ``sabotage`` and for the fixture of this name."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from mqproof.harness.chaos.decisions import Decisions, Event, Replay
from mqproof.harness.chaos.faults import broker_faults, known_faults
from mqproof.harness.chaos.scenario import Plan, Scenario, parse_fault
from mqproof.harness.chaos.stages import passages
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.targets.target import Target

SCENARIO, TRANSCRIPT = "scenario.toml", "transcript.jsonl"


class Afoot:
    """A fault that was set going; ``stop`` ends it, and so does leaving its context."""

    def __init__(self, saboteur: "Saboteur", plan: Plan) -> None:
        self._saboteur = saboteur
        self.plan = plan

    @property
    def count(self) -> int:
        """How many messages or connections met it so far."""
        return self._saboteur.decisions.met[self.plan.fault]

    def stop(self) -> None:
        """End the fault; a second call does nothing."""
        self._saboteur.remove(self.plan)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.stop()


class Saboteur:
    """A proxy before ``target`` that plays a scenario. A context manager: leaving it ends every connection.

    ``events``: what was done, in order. ``watch`` is called with each event, on the proxy's thread. ``folder``: where
    the scenario and the transcript are written. Raises OSError when the port is taken.
    """

    def __init__(
        self,
        target: Target,
        scenario: Scenario,
        *,
        port: int = 0,
        folder: Path | None = None,
        watch: Callable[[Event], None] | None = None,
        replay: Replay | None = None,
    ) -> None:
        self.events: list[Event] = []
        self._watch = watch
        self._file = (folder / TRANSCRIPT).open("w", encoding="utf-8", buffering=1) if folder else None
        if folder:
            (folder / SCENARIO).write_text(scenario.as_toml(), encoding="utf-8")
        self.decisions = Decisions(scenario, self._take, replay=replay)
        self._known = known_faults(target.protocol)
        self._brokers = broker_faults(target.protocol)
        self._loop = ProxyLoop()
        self._loop.__enter__()
        try:
            self._proxy = self._loop.proxy(target, passages(self.decisions, target.protocol), port=port)
        except BaseException:
            self.close()
            raise

    @property
    def target(self) -> Target:
        """The broker as the application reaches it: through the saboteur."""
        return self._proxy.target

    @property
    def url(self) -> str:
        """The URL for the application, with the broker's credentials."""
        return self.target.url

    @property
    def host(self) -> str:
        """The address for the application."""
        return self.target.host

    @property
    def port(self) -> int:
        """The port for the application."""
        return self._proxy.port

    def fault(self, name: str, *, probability: float = 1.0, only: str = "", **options: float | str) -> Afoot:
        """Set a fault going, until its ``stop`` or the end of the test.

        ``only``: filters such as ``queue=orders``. ``options``: delay, jitter (seconds or ``100ms``), rate (octets per
        second or ``10k``). A broker's fault acts on connections that are made from now on. Raises BadScenario.
        """
        words = ",".join(f"{option}={value}" for option, value in options.items())
        plan = parse_fault(f"{name}:{words}", self._known, probability=probability, only=only)
        self._call(lambda: self.decisions.plans.append(plan))
        return Afoot(self, plan)

    def remove(self, plan: Plan) -> None:
        """End a fault."""
        self._call(lambda: self.decisions.plans.remove(plan) if plan in self.decisions.plans else None)

    def close(self) -> None:
        """End every connection and stop listening."""
        self._loop.__exit__()
        if self._file:
            self._file.close()

    def _call(self, action: Callable[[], None]) -> None:
        """Run something on the proxy's loop, where the plans are read."""

        async def run() -> None:
            action()

        asyncio.run_coroutine_threadsafe(run(), self._loop.loop).result()

    def _take(self, event: Event) -> None:
        if self._file and not self._file.closed:
            self._file.write(event.as_json() + "\n")
        if event.fault:
            self.events.append(event)
            if self._watch:
                self._watch(event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()
