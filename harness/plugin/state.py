"""What one pytest process knows of the run: the targets, the names' prefix, and what is allowed."""

import re
import uuid
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mqproof.harness.plugin.known import Known, known_deviations
from mqproof.harness.targets.target import Target


@dataclass(slots=True)
class Mqproof:
    """The state of a run in this process; under xdist the controller's copy travels to the workers.

    ``faults``: for a target behind a saboteur, the statements that its fault breaks; only tests of those and the
    sanity tests run on it. ``run_dir``: where evidence goes, or None. ``keeps_all_evidence``: also that of tests that
    conform.
    """

    targets: list[Target] = field(default_factory=list)
    faults: dict[str, frozenset[str]] = field(default_factory=dict)
    prefix: str = ""
    run_dir: Path | None = None
    destructive: bool = False
    fail_on_should: bool = False
    keeps_all_evidence: bool = False
    worker: str = "main"
    resources: ExitStack = field(default_factory=ExitStack)
    counter: int = 0
    _known: dict[str, tuple[Known, ...]] = field(default_factory=dict)

    def target(self, name: str) -> Target:
        """Return the target with this name. Raises KeyError."""
        for target in self.targets:
            if target.name == name:
                return target
        raise KeyError(name)

    def known(self, name: str) -> tuple[Known, ...]:
        """Return the known deviations of the target with this name. Raises KeyError and BadProfile."""
        if name not in self._known:
            self._known[name] = known_deviations(self.target(name))
        return self._known[name]

    def next_number(self) -> int:
        """Return a number that this process has not used before."""
        self.counter += 1
        return self.counter


mqproof_key = pytest.StashKey[Mqproof]()


def new_prefix() -> str:
    """Return a prefix that no other run has: letters and digits only, for the sake of client ids."""
    return "mqproof" + uuid.uuid4().hex[:6]


def safe_prefix(text: str) -> str:
    """Return ``text`` with everything removed that an AMQP name, an MQTT topic or both treat specially."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", text)


def state_of(config: pytest.Config) -> Mqproof:
    """Return the run's state; the plugin must be active."""
    return config.stash[mqproof_key]


def options(config: pytest.Config) -> Any:
    """Return pytest's options, untyped as they are."""
    return config.option
