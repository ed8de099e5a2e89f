"""Runs faults x tests as items of pytest: each fault with its own tests only, the control once, shared out."""

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import as_completed
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from zlib import crc32

import pytest
from mqproof.harness import saboteur
from mqproof.harness.processes import shared_out
from mqproof.harness.proxy.core import ProxyLoop
from mqproof.harness.saboteur.core import FAULTS, FaultSpec, passage_for
from mqproof.harness.saboteur.kill_table import GREEN, SEPARATOR, fault_of
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Verdict

SLOW, STUCK = 0.5, 2  # seconds that only a missed deadline takes, and how often that is waited for
CHECKS_LOGIN = ("login-ignored",)  # defects of brokers that know whom to let in
LOGIN = "mqproof"  # user name and password there
DEFAULT_PATIENCE = 0.2  # a fault that withholds an answer costs a deadline; embedded brokers answer in milliseconds
PART = 110  # faults of one process's turn: collecting the tests costs seconds, and a turn's end is a sign of life
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
    base: Target,
    faults: Iterable[FaultSpec],
    loop: ProxyLoop,
    start_defective: Callable[[FaultSpec], Target | None],
    everything: frozenset[str],
) -> dict[str, tuple[Target, frozenset[str]]]:
    """Return, by name, a target for each fault of the base's protocol, with the statements that the fault breaks.

    The base's own name stands for the control: the same proxy without a fault, for tests of ``everything``.
    ``start_defective`` starts an embedded broker with a defect, or returns None where the base is no embedded broker.
    """
    result = {base.name: (loop.proxy(base).target, everything)} if everything else {}
    for spec in faults:
        if spec.protocol != base.protocol:
            continue
        name = f"{base.name}{SEPARATOR}{spec.name}"
        upstream = start_defective(spec) if spec.defect else base
        if upstream is None:
            continue
        behind = loop.proxy(upstream) if spec.defect else loop.proxy(base, passage_for(spec.make()))
        there = behind.target
        result[name] = there.with_(name=name, websocket=upstream.websocket), frozenset(spec.statements)
    return result


def statements_of(faults: Iterable[FaultSpec], base: Target) -> frozenset[str]:
    """Return the statements that any of these faults breaks, among those that can stand before ``base``."""
    can = [spec for spec in faults if spec.protocol == base.protocol and (not spec.defect or base.driver == "embedded")]
    return frozenset(key for spec in can for key in spec.statements)


class FaultRun:
    """A pytest plugin: hands over the sabotaged targets, leaves out what proves nothing more, collects the rest.

    A function that has killed a fault need not meet it again with other parameters, nor one that has run into the
    deadline twice without noticing anything. Unless ``thorough``, a function that has proved itself on some fault
    leaves out the faults that others have killed. ``share``: which of how many shares of the control to run.
    """

    def __init__(
        self,
        targets: dict[str, tuple[Target, frozenset[str]]],
        *,
        thorough: bool,
        share: tuple[int, int] = (0, 1),
        only: frozenset[tuple[str, str]] = frozenset(),
    ) -> None:
        self._targets = targets
        self._thorough = thorough
        self._share = share
        self._only = only  # functions and targets, none for all
        self._kills: set[tuple[str, str]] = set()  # function and target
        self._stuck: Counter[tuple[str, str]] = Counter()
        self._killers: set[str] = set()
        self._dead: set[str] = set()
        self.records: list[dict[str, Any]] = []
        self.sanity: set[str] = set()
        self.errors: list[str] = []

    def pytest_configure(self, config: pytest.Config) -> None:
        """Nobody reads the tracebacks: parsing the sources for them would take a twentieth of the time."""
        config.option.tbstyle = "native"

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

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Return True, and so leave the item out, where it would prove nothing more."""
        if not self._proves_nothing_more(item):
            return None
        item.session._setupstate.teardown_exact(nextitem)  # the one before left standing what this one shares with it
        return True

    def _proves_nothing_more(self, item: pytest.Item) -> bool:
        from mqproof.harness.plugin.running import test_id
        from mqproof.harness.plugin.selection import target_name

        function, target = _function(test_id(item)), str(target_name(item))
        if self._only:
            return (function, target) not in self._only
        if not fault_of(target):
            return crc32(function.encode()) % self._share[1] != self._share[0]
        if function in self.sanity:
            return False
        pair = function, target
        is_proved = not self._thorough and target in self._dead and function in self._killers
        return pair in self._kills or self._stuck[pair] >= STUCK or is_proved

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take the record out of the test's last report."""
        if report.when != "teardown":
            return
        for name, value in report.user_properties:
            if name == "mqproof" and isinstance(value, dict):
                self._take({**value, "function": _function(value["id"])})

    def doubtful(self) -> frozenset[tuple[str, str]]:
        """Return the controls and sanity tests that were not green: perhaps only for want of patience."""
        return frozenset(
            (record["function"], record["target"])
            for record in self.records
            if record["outcome"] not in GREEN
            and (not fault_of(record["target"]) or record["function"] in self.sanity)
        )

    def _take(self, record: dict[str, Any]) -> None:
        self.records.append(record)
        function, target = record["function"], record["target"]
        broken = self._targets[target][1]
        if not fault_of(target):
            return
        if any(key in broken and verdict == Verdict.DEVIATES for key, (verdict, _) in record["verdicts"].items()):
            self._kills.add((function, target))
            self._killers.add(function)
            self._dead.add(target)
        elif record["duration_s"] > SLOW:
            self._stuck[function, target] += 1


@dataclass(slots=True)
class Shard:
    """What one process is to run, and what came of it; it travels between processes.

    ``share`` and ``beside``: which of how many shares of the control to run, and the faults that the control is for.
    """

    bases: list[Target]
    faults: list[str]
    suites: list[str]
    arguments: list[str]
    thorough: bool = False
    share: tuple[int, int] = (0, 1)
    beside: list[str] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)
    sanity: frozenset[str] = frozenset()
    ran: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def run_shard(shard: Shard) -> Shard:
    """Run the shard's faults in this process, silently, and return it with what came of them."""
    faults, all_faults = chosen_faults(shard.faults), chosen_faults(shard.beside or shard.faults)
    with ExitStack() as resources, ProxyLoop() as loop:
        targets: dict[str, tuple[Target, frozenset[str]]] = {}
        for base in shard.bases:
            everything = statements_of(all_faults, base)
            targets |= sabotage(base, faults, loop, defective_brokers(resources, base), everything)
        plugin = FaultRun(targets, thorough=shard.thorough, share=shard.share)
        arguments = [*PYTEST_ARGUMENTS, *shard.arguments, *shard.suites]
        code = pytest.main(arguments, plugins=[plugin])
        doubtful = plugin.doubtful()
        if doubtful:  # no fault is called overbroad, and no control red, for want of patience
            again = FaultRun(targets, thorough=True, only=doubtful)
            pytest.main([*arguments, "--mqproof-patience=1.0"], plugins=[again])
            sure = [record for record in plugin.records if (record["function"], record["target"]) not in doubtful]
            plugin.records = sure + again.records
    shard.records, shard.sanity, shard.errors = plugin.records, frozenset(plugin.sanity), plugin.errors
    shard.ran = [spec.name for spec in faults if any(fault_of(name) == spec.name for name in targets)]
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED):
        shard.errors.append(f"pytest ended with {int(code)}")
    return shard


def run_sharded(shards: Iterable[Shard], workers: int, tell: Callable[[int, int], None]) -> list[Shard]:
    """Run the shards in ``workers`` processes and return them; ``tell(ended, all)`` after each that ends."""
    with shared_out(workers, "spawn") as pool:
        work = [pool.submit(run_shard, shard) for shard in shards]
        for ended, _ in enumerate(as_completed(work), 1):
            tell(ended, len(work))
        return [each.result() for each in work]


def in_parts(shard: Shard, workers: int) -> list[Shard]:
    """Return the shard in parts of as many faults each, at least one for each of the processes."""
    count = min(max(workers, -(-len(shard.faults) // PART)), len(shard.faults))
    return [
        replace(shard, faults=shard.faults[start::count], share=(start, count), beside=shard.faults)
        for start in range(count)
    ]


def together(shards: Iterable[Shard]) -> Shard:
    """Return what came of all of these as one."""
    done = list(shards)
    return replace(
        done[0],
        records=[record for part in done for record in part.records],
        sanity=frozenset().union(*(part.sanity for part in done)),
        ran=list(dict.fromkeys(name for part in done for name in part.ran)),
        errors=[error for part in done for error in part.errors],
    )


def defective_brokers(resources: ExitStack, base: Target) -> Callable[[FaultSpec], Target | None]:
    """Return what starts an embedded broker with a defect; brokers end with ``resources``."""

    def start(spec: FaultSpec) -> Target | None:
        if base.driver != "embedded" or spec.defect is None:
            return None
        module = importlib.import_module(f"mqproof.harness.reference.{base.protocol}.server")
        ways: dict[str, Any] = {"ws_port": 0} if base.websocket else {}
        found = base
        if spec.defect in CHECKS_LOGIN:
            ways["users"] = {LOGIN: LOGIN.encode()}
            found = base.with_(user=LOGIN, password=LOGIN, capabilities=base.capabilities | {"login"})
        handle = module.start_in_thread(defects=frozenset({spec.defect}), **ways)
        resources.callback(handle.stop)
        web = base.websocket and found.with_(port=handle.ws_port, path=base.websocket.path, websocket=None)
        return found.with_(port=handle.port, websocket=web)

    return start


def _function(test_id: str) -> str:
    """Return the test function of an id: parameters do not count."""
    return test_id.partition("[")[0].removeprefix("suites/")
