"""Fixtures of the recovery suites: a broker of the test's own, because these tests restart and starve it."""

from collections.abc import Callable, Iterator

import pytest
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.identify import identify
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Untested


@pytest.fixture(scope="module")
def broker_options() -> dict[str, str]:
    """Options for the drivers of ``own_brokers``; a module may override them."""
    return {}


@pytest.fixture(scope="module")
def own_brokers(broker_options: dict[str, str]) -> Iterator[Callable[[Target], tuple[LocalBroker, Target]]]:
    """``own_brokers(target)``: a broker started by the driver of ``target``, and how it is reached; one per module."""
    started: dict[str, tuple[LocalBroker, Target]] = {}

    def start(target: Target) -> tuple[LocalBroker, Target]:
        if target.driver is None:
            raise Untested("restarts its broker: needs one that mqproof can start itself")
        if target.driver not in started:
            broker = DRIVERS[target.driver].start([target.protocol], options=broker_options)
            started[target.driver] = broker, identify(broker.target(target.protocol))
        return started[target.driver]

    yield start
    for broker, _ in started.values():
        broker.stop()
