"""Starting a local broker, and once more where somebody took its port in the meantime."""

from collections.abc import Callable

from mqproof.harness.targets.drivers.base import ATTEMPTS, LocalBroker
from mqproof.harness.targets.errors import BrokerFailed

PORT_TAKEN = ("address already in use", "address in use", "eaddrinuse", "errno 98")


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
