"""Runs faults x tests as items of one pytest process: the control once, and each fault only with its own tests."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Any

import pytest
from mqproof.harness import saboteur
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.saboteur.core import FAULTS, FaultSpec, passage_for
from mqproof.harness.saboteur.kill_table import SEPARATOR
from mqproof.harness.targets.target import Target

DEFAULT_PATIENCE = 0.2  # a fault that withholds an answer costs a deadline; embedded brokers answer in milliseconds


class UnknownFault(LookupError):
    """A name that no fault has."""


def load_faults() -> None:
    """Import every module of faults, so that all are registered."""
    for module in pkgutil.iter_modules(saboteur.__path__):
        if "_faults" in module.name:
            importlib.import_module(f"mqproof.harness.saboteur.{module.name}")


def chosen_faults(names: Iterable[str]) -> list[FaultSpec]:
    """Return the faults of these names, or all. Raises UnknownFault."""
    load_faults()
    wanted = list(names)
    for name in wanted:
        if name not in FAULTS:
            raise UnknownFault(f"no fault is called {name!r}: 'mqproof faults list' shows them")
    return [FAULTS[name] for name in wanted] if wanted else list(FAULTS.values())


def sabotage(
    base: Target, faults: Iterable[FaultSpec], loop: ProxyLoop, start_defective: Callable[[FaultSpec], Target | None]
) -> dict[str, tuple[Target, frozenset[str]]]:
    """Return, by name, a target for each fault of the base's protocol, with the statements that the fault breaks.

    The base's own name stands for the control: the same proxy without a fault. ``start_defective`` starts an embedded
    broker with a defect, or returns None where the base is no embedded broker.
    """
    control = loop.proxy(base).target
    result: dict[str, tuple[Target, frozenset[str]]] = {}
    everything: frozenset[str] = frozenset()
    for spec in faults:
        if spec.protocol != base.protocol:
            continue
        name = f"{base.name}{SEPARATOR}{spec.name}"
        upstream = start_defective(spec) if spec.defect else base
        if upstream is None:
            continue
        behind = loop.proxy(upstream) if spec.defect else loop.proxy(base, passage_for(spec.make()))
        broken = frozenset(spec.statements)
        everything |= broken
        result[name] = base.with_(name=name, host=behind.target.host, port=behind.target.port, tls=None), broken
    return {base.name: (control, everything), **result} if result else {}


class FaultRun:
    """A pytest plugin: hands over the sabotaged targets, and collects what each test said."""

    def __init__(self, targets: dict[str, tuple[Target, frozenset[str]]], progress: Callable[[str], None]) -> None:
        self._targets = targets
        self._progress = progress
        self.records: list[dict[str, Any]] = []
        self.sanity: set[str] = set()
        self.errors: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_mqproof_targets(self, config: pytest.Config) -> list[Target]:
        """Return the control and one target per fault."""
        from mqproof.harness.plugin.state import state_of

        state_of(config).faults.update({name: broken for name, (_, broken) in self._targets.items()})
        return [target for target, _ in self._targets.values()]

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Remember which functions are sanity tests."""
        from mqproof.harness.plugin.running import test_id

        self.sanity = {_function(test_id(item)) for item in items if item.get_closest_marker("sanity")}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep what could not be collected: such a run proves nothing."""
        if report.failed:
            self.errors.append(f"{report.nodeid}: {report.longreprtext.strip().splitlines()[-1]}")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the record out of the test's last report."""
        if report.when != "teardown":
            return
        for name, value in report.user_properties:
            if name == "mqproof" and isinstance(value, dict):
                self.records.append({**value, "function": _function(value["id"])})
                self._progress(f"{value['target']} {value['id']}")


def run_tests(suites: list[str], plugin: FaultRun, arguments: list[str]) -> int:
    """Run pytest in this process, silently, over packages of suites. Returns pytest's exit code."""
    fixed = ["-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:randomly", "--import-mode=importlib", "--pyargs"]
    return int(pytest.main([*fixed, *arguments, *suites], plugins=[plugin]))


def defective_brokers(resources: ExitStack, base: Target) -> Callable[[FaultSpec], Target | None]:
    """Return what starts an embedded broker with a defect; brokers end with ``resources``."""

    def start(spec: FaultSpec) -> Target | None:
        if base.driver != "embedded" or spec.defect is None:
            return None
        module = importlib.import_module(f"mqproof.harness.reference.{base.protocol}.server")
        handle = module.start_in_thread(defects=frozenset({spec.defect}))
        resources.callback(handle.stop)
        return base.with_(port=handle.port)

    return start


def _function(test_id: str) -> str:
    """Return the test function of an id: parameters do not count."""
    return test_id.partition("[")[0].removeprefix("suites/")
