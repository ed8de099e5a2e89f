"""The suites judge brokers: without one there is nothing to run."""

import pytest
from mqproof.harness.plugin.entry import NO_BROKER
from mqproof.harness.plugin.state import mqproof_key


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config) -> None:
    """Say in one line what is missing, rather than fail every test on a fixture that does not exist."""
    if mqproof_key not in config.stash:
        raise pytest.UsageError(NO_BROKER)
