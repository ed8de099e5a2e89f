"""Starting a local broker, and once more where somebody took its port in the meantime."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mqproof.harness.targets.drivers.base import ATTEMPTS, Availability, LocalBroker, require, wanted
from mqproof.harness.targets.errors import BrokerFailed

PORT_TAKEN = ("address already in use", "address in use", "eaddrinuse", "errno 98")


class LaunchingDriver(ABC):
    """A driver whose broker is prepared in a folder and on ports of its own, anew for each attempt to start it."""

    name: str
    protocols: tuple[str, ...]

    @abstractmethod
    def availability(self) -> Availability:
        """Return whether the broker is installed."""

    @abstractmethod
    def prepare(
        self, protocols: tuple[str, ...], folder: Path | None, options: dict[str, str], version: str
    ) -> LocalBroker:
        """Return the broker, configured and not started; the options are this attempt's own. Raises BrokerFailed."""

    def start(
        self,
        protocols: Sequence[str] | None = None,
        *,
        folder: Path | None = None,
        options: Mapping[str, str] | None = None,
    ) -> LocalBroker:
        """Return a running broker; what it raises stands at :class:`Driver`."""
        chosen, version = wanted(self, protocols), require(self)
        return launch(lambda: self.prepare(chosen, folder, dict(options or {}), version))


def launch(prepare: Callable[[], LocalBroker]) -> LocalBroker:
    """Return the broker that ``prepare`` makes, started; with new ports when the old ones were taken.

    Raises BrokerFailed.
    """
    for attempt in range(1, ATTEMPTS + 1):
        broker = prepare()
        try:
            broker.start()
        except BrokerFailed as failure:
            if attempt == ATTEMPTS or not any(words in failure.log.lower() for words in PORT_TAKEN):
                raise
        else:
            return broker
    raise AssertionError("unreachable")
