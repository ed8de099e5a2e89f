"""The fixtures that every suite may use. They exist only in runs that name a broker."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mqproof.dissectors.mqtt.tables import Version
from mqproof.harness.patience import Patience
from mqproof.harness.patience import patience as shared_patience
from mqproof.harness.plugin.selection import MQTT_SPECS
from mqproof.harness.plugin.state import Mqproof, state_of
from mqproof.harness.targets.target import Target
from mqproof.harness.wires.base import Transcript

CLIENT_ID_LENGTH = 23  # MQTT 3.1.1 section 3.1.3.1: a server must accept 1 to 23 letters and digits
transcripts_key = pytest.StashKey[list[Transcript]]()


class Names:
    """Makes names that nobody else uses, each with the run's prefix."""

    def __init__(self, state: Mqproof) -> None:
        self._state = state
        self.prefix = state.prefix
        self.made: list[str] = []  # by this test

    def __call__(self, what: str = "name") -> str:
        """Return a new name: letters, digits, ``-`` and ``_`` only, so that it is one AMQP word and one MQTT level."""
        safe = re.sub(r"[^A-Za-z0-9_-]", "-", what)
        self.made.append(f"{self.prefix}-{safe}-{self._token()}")
        return self.made[-1]

    def client_id(self) -> str:
        """Return a new MQTT client id of at most 23 letters and digits."""
        letters = re.sub(r"[^A-Za-z0-9]", "", self.prefix + self._state.worker)
        token = re.sub(r"[^A-Za-z0-9]", "", self._token())
        return letters[: CLIENT_ID_LENGTH - len(token)] + token

    def _token(self) -> str:
        """Return digits that nobody else has, and with which no other token begins."""
        return f"{self._state.worker}x{self._state.next_number():04x}"


class Cleanup:
    """Runs what was registered, last first, even after a failure and even when one of them fails."""

    def __init__(self) -> None:
        self._actions: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []

    def __call__(self, action: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Register ``action(*args, **kwargs)`` for the end of the test."""
        self._actions.append((action, args, kwargs))

    def run(self) -> None:
        """Run everything. Raises ExceptionGroup with what failed."""
        errors: list[Exception] = []
        while self._actions:
            action, args, kwargs = self._actions.pop()
            try:
                action(*args, **kwargs)
            except Exception as error:
                errors.append(error)
        if errors:
            raise ExceptionGroup("cleaning up failed", errors)


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Target:
    """The broker under test; parametrized over all targets that speak the test's protocol."""
    return state_of(request.config).target(request.param)


@pytest.fixture
def version(request: pytest.FixtureRequest) -> Version:
    """The version of MQTT to speak: a test runs once for each version that it claims statements of."""
    return MQTT_SPECS[request.param]


@pytest.fixture
def names(request: pytest.FixtureRequest) -> Names:
    """``names("queue")`` is a new name with the run's prefix; ``names.client_id()`` a new client id."""
    return Names(state_of(request.config))


@pytest.fixture
def cleanup(transcripts: list[Transcript]) -> Iterator[Cleanup]:
    """``cleanup(action, *args)`` registers what must be undone at the end, in reverse order."""
    actions = Cleanup()
    yield actions
    actions.run()


@pytest.fixture
def transcripts(request: pytest.FixtureRequest) -> list[Transcript]:
    """The conversations of this test: wires append theirs, and a failed test shows them."""
    item: pytest.Item = request.node
    return item.stash.setdefault(transcripts_key, [])


@pytest.fixture
def patience() -> Patience:
    """The factor for every deadline: ``patience.seconds(2.0)``."""
    return shared_patience
