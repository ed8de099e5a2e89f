"""Runs faults x tests as items of pytest: each fault with its own tests only, the control once per process."""

import importlib
import multiprocessing
import pkgutil
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from mqproof.harness import saboteur
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.saboteur.core import FAULTS, FaultSpec, passage_for
from mqproof.harness.saboteur.kill_table import SEPARATOR, fault_of
from mqproof.harness.targets.target import Target

DEFAULT_PATIENCE = 0.2  # a fault that withholds an answer costs a deadline; embedded brokers answer in milliseconds
PYTEST_ARGUMENTS = (
    "-p", "no:terminal", "-p", "no:cacheprovider", "-p", "no:randomly", "--import-mode=importlib", "--pyargs",
)  # fmt: skip


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

    def __init__(self, targets: dict[str, tuple[Target, frozenset[str]]]) -> None:
        self._targets = targets
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


@dataclass(slots=True)
class Shard:
    """What one process is to run, and what came of it; it travels between processes."""

    bases: list[Target]
    faults: list[str]
    suites: list[str]
    arguments: list[str]
    records: list[dict[str, Any]] = field(default_factory=list)
    sanity: frozenset[str] = frozenset()
    ran: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def run_shard(shard: Shard) -> Shard:
    """Run the shard's faults in this process, silently, and return it with what came of them."""
    faults = chosen_faults(shard.faults)
    with ExitStack() as resources, ProxyLoop() as loop:
        targets: dict[str, tuple[Target, frozenset[str]]] = {}
        for base in shard.bases:
            targets |= sabotage(base, faults, loop, defective_brokers(resources, base))
        plugin = FaultRun(targets)
        code = pytest.main([*PYTEST_ARGUMENTS, *shard.arguments, *shard.suites], plugins=[plugin])
    shard.records, shard.sanity, shard.errors = plugin.records, frozenset(plugin.sanity), plugin.errors
    shard.ran = [spec.name for spec in faults if any(fault_of(name) == spec.name for name in targets)]
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        shard.errors.append(f"pytest ended with {int(code)}")
    return shard


def run_sharded(shard: Shard, workers: int) -> Shard:
    """Run the faults in ``workers`` processes, each with a share of them, and return everything together."""
    shares = [shard.faults[start::workers] for start in range(workers) if shard.faults[start::workers]]
    shards = [replace(shard, faults=share) for share in shares]
    with ProcessPoolExecutor(max(len(shards), 1), mp_context=multiprocessing.get_context("spawn")) as pool:
        done = list(pool.map(run_shard, shards))
    return replace(
        shard,
        records=[record for part in done for record in part.records],
        sanity=frozenset().union(*(part.sanity for part in done)),
        ran=[name for part in done for name in part.ran],
        errors=[error for part in done for error in part.errors],
    )


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
