"""The plugin proper, registered as soon as a run names a broker: opens the targets and parametrizes the tests."""

import pickle
import random
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest
from mqproof.harness.patience import patience
from mqproof.harness.plugin import fixtures
from mqproof.harness.plugin.admission import Admission
from mqproof.harness.plugin.running import Running
from mqproof.harness.plugin.selection import deselect, parametrize
from mqproof.harness.plugin.state import (
    Mqproof,
    mqproof_key,
    new_prefix,
    options,
    safe_prefix,
    state_of,
)


def register(config: pytest.Config) -> None:
    """Make the plugin active in this process, be it alone, a controller or an xdist worker."""
    workerinput = getattr(config, "workerinput", None)
    config.stash[mqproof_key] = _received(workerinput) if workerinput else _from_options(config)
    patience.factor = options(config).mqproof_patience
    manager = config.pluginmanager
    manager.register(fixtures, "mqproof-fixtures")
    manager.register(Core(config), "mqproof-core")
    manager.register(Running(config), "mqproof-running")
    manager.register(Admission(config), "mqproof-admission")
    if workerinput is None:
        from mqproof.harness.plugin.recorder import Recorder

        manager.register(Recorder(config), "mqproof-recorder")
        manager.register(Controller(config), "mqproof-controller")


class Core:
    """Targets and collection."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Open the targets, unless the controller has done so. Raises UsageError, and Exit for what is unreachable."""
        state = state_of(self.config)
        if getattr(options(self.config), "allure_report_dir", None):
            from mqproof.harness.plugin.allure_labels import take_over_writing

            take_over_writing(self.config)
        if hasattr(self.config, "workerinput"):
            return
        targets = self.config.hook.pytest_mqproof_targets(config=self.config) or []
        if not options(self.config).collectonly:
            from mqproof.harness.probing.amqp_features import with_features

            targets = [with_features(target, state.prefix) for target in targets]
        state.targets = list(targets)

    @pytest.hookimpl(trylast=True)
    def pytest_mqproof_targets(self, config: pytest.Config) -> Any:
        """Open the targets that the options name."""
        from mqproof.harness.plugin.brokers import named_targets, open_targets

        if options(config).collectonly:
            return named_targets(config)
        return open_targets(config, state_of(config).resources)

    @pytest.hookimpl(tryfirst=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Parametrize over targets and versions, before the test's own parameters."""
        parametrize(metafunc)

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Leave out what the options leave out, and label the rest for Allure."""
        deselect(config, items)
        seed = options(config).mqproof_shuffle
        if seed is not None:
            random.Random(seed).shuffle(items)  # the same order in every xdist worker
        if getattr(options(config), "allure_report_dir", None):
            from mqproof.harness.plugin.allure_labels import label

            for item in items:
                label(item)

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Stop the brokers that this process started."""
        state_of(self.config).resources.close()


class Controller:
    """Hands the targets to the xdist workers."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Send the state to one worker."""
        state = state_of(self.config)
        node.workerinput["mqproof"] = pickle.dumps(replace(state, resources=ExitStack()))  # brokers stay here


def _from_options(config: pytest.Config) -> Mqproof:
    from mqproof.harness.plugin.recorder import run_folder

    option = options(config)
    return Mqproof(
        prefix=safe_prefix(option.mqproof_prefix) if option.mqproof_prefix else new_prefix(),
        run_dir=run_folder(option.mqproof_run),
        destructive=option.mqproof_destructive,
        fail_on_should=option.mqproof_fail_on == "should",
        keeps_all_evidence=option.mqproof_evidence == "all",
    )


def _received(workerinput: dict[str, Any]) -> Mqproof:
    state: Mqproof = pickle.loads(workerinput["mqproof"])
    return replace(state, worker=workerinput["workerid"], resources=ExitStack())
