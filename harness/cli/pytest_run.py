"""Runs the suites in pytest, in this process, so that nothing of the user's own pytest set-up changes a verdict."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from mqproof.harness.reporting.progress import LiveProgress
from mqproof.harness.run import cache_folder
from mqproof.harness.targets.target import Target

PLUGINS = ("mqproof.harness.plugin.entry", "xdist.plugin", "allure_pytest.plugin")
CLEARED = ("PYTEST_ADDOPTS", "PYTEST_PLUGINS", "PYTEST_XDIST_AUTO_NUM_WORKERS", "PYTEST_THEME")
UNWRITTEN = "PYTHONDONTWRITEBYTECODE"  # set in many containers
LOG = "pytest.log"


class BadUsage(ValueError):
    """A wish that cannot be fulfilled; one line says which and what to write instead."""


class Suites:
    """The folders of the suites, all of them or those that were named. Raises BadUsage for one that is not there."""

    def __init__(self, names: Sequence[str]) -> None:
        self.root = _suites_folder()
        there = sorted(path.name for path in self.root.iterdir() if any(path.glob("test_*.py")))
        for name in names:
            if name not in there:
                raise BadUsage(f"--suite {name}: there are {', '.join(there)}")
        self.names = list(names) or there

    def select(self, protocols: Iterable[str]) -> list[Path]:
        """Return the folders that have tests for any of the protocols."""
        spoken = set(protocols)
        return [self.root / name for name in self.names if name not in ("amqp", "mqtt") or name in spoken]


class Handover:
    """The pytest plugin that gives the opened targets to the plugin proper."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets

    @pytest.hookimpl(tryfirst=True)
    def pytest_mqproof_targets(self) -> list[Target]:
        """Return the targets that run already."""
        return list(self._targets)


def run_suites(
    folders: Sequence[Path], targets: Sequence[Target], run_dir: Path, options: Sequence[str], live: LiveProgress
) -> int:
    """Run the tests in ``folders`` on the targets; the results are in ``run_dir``. Returns pytest's exit code."""
    arguments = [
        *own_configuration(),
        f"--mqproof-run={run_dir}", f"--alluredir={run_dir / 'allure-results'}", f"--junitxml={run_dir / 'junit.xml'}",
        "--dist=worksteal", *options, *map(str, folders),
    ]  # fmt: skip
    with ExitStack() as resources:
        temporary = resources.enter_context(TemporaryDirectory(prefix="mqproof_suites_", ignore_cleanup_errors=True))
        arguments.append(f"--basetemp={temporary}/pytest")  # else pytest keeps the folders of three runs
        resources.enter_context(own_environment())
        log = resources.enter_context((run_dir / LOG).open("w", encoding="utf-8"))
        with redirect_stdout(log), redirect_stderr(log):
            return int(pytest.main(arguments, plugins=[Handover(targets), live]))


def collect_suites(plugin: object) -> int:
    """Collect all suites without running them, for ``plugin`` to look at. Returns pytest's exit code."""
    with own_environment(), open(os.devnull, "w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        arguments = [*own_configuration(), "--collect-only", "-q", *map(str, Suites([]).select(["amqp", "mqtt"]))]
        return int(pytest.main(arguments, plugins=[plugin]))


def own_configuration() -> list[str]:
    """Return the arguments that put our configuration, root folder and plugins in the place of the user's."""
    root = _suites_folder()
    ini = str(files("mqproof.harness.plugin").joinpath("mqproof.ini"))
    plugins = [word for plugin in PLUGINS for word in ("-p", plugin)]
    return ["-c", ini, f"--rootdir={root}", f"--confcutdir={root}", *plugins]


@contextmanager
def own_environment() -> Iterator[None]:
    """Keep the user's pytest settings out, and caches and bytecode in the user's cache folder.

    Bytecode is kept there even where none may be written beside sources: else each worker compiles all it imports, in
    every run.
    """
    cache = cache_folder()
    changed = {
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTHONPYCACHEPREFIX": str(cache / "bytecode"),
        "PYTHONSAFEPATH": "1",  # a user's folder must not shadow what the workers import
        "HYPOTHESIS_STORAGE_DIRECTORY": str(cache / "hypothesis"),
    }
    cleared = (*CLEARED, UNWRITTEN)
    before = {name: os.environ.get(name) for name in (*changed, *cleared)}
    flags = sys.pycache_prefix, sys.dont_write_bytecode
    for name in cleared:
        os.environ.pop(name, None)
    os.environ.update(changed)
    sys.pycache_prefix, sys.dont_write_bytecode = changed["PYTHONPYCACHEPREFIX"], False
    try:
        yield
    finally:
        sys.pycache_prefix, sys.dont_write_bytecode = flags
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _suites_folder() -> Path:
    spec = find_spec("mqproof.suites")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("mqproof.suites is not installed")
    return Path(next(iter(spec.submodule_search_locations))).resolve()
