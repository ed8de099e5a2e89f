"""Brokers that the project's own tests share, and the rule that in ``make test`` nothing is skipped."""

import io
import os
import subprocess
from collections.abc import Callable, Generator, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.drivers.base import LocalBroker
from mqproof.harness.targets.drivers.certificates import make_certificates
from mqproof.harness.targets.errors import BrokerMissing

ROOT = Path(__file__).parent.parent
NO_SKIPS = bool(os.environ.get("MQPROOF_TESTS_NO_SKIPS"))
MARKERS = (
    "real_broker: needs RabbitMQ or Mosquitto",
    "wheel: builds and installs the wheel",
    "whole_run: runs a command of mqproof from end to end",
    "slow: takes ten seconds or more",
    "alike: its cases show one behaviour: make check needs the first only",
    "further_case: not the first case of a test whose cases are alike, or start the command as a process",
)
LONG = ("whole_run", "slow", "wheel")


# A busy machine is no defect: examples are bounded in number, never in time.
settings.register_profile("mqproof", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("mqproof")


def pytest_configure(config: pytest.Config) -> None:
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Mark what ``make check`` does without, and let what takes long begin first.

    Marked before the order is made random (a wrapper too, outside of which this one stands), so that the first case is
    always the same one. Sorted after it: at the end no worker waits for another's long test.
    """
    _mark(items)
    yield
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in LONG))


def _mark(items: list[pytest.Item]) -> None:
    """Mark what needs real brokers, and all but the first case where cases are alike or start the command."""
    begun: set[str] = set()
    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if {"rabbitmq", "mosquitto"} & fixtures:
            item.add_marker("real_broker")
        starts = "mqproof" in fixtures and "mqproof_here" not in fixtures
        if starts or item.get_closest_marker("alike"):
            test = item.nodeid.partition("[")[0]
            if test in begun:
                item.add_marker("further_case")
            begun.add(test)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Make a skipped test an error where nothing may be skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if NO_SKIPS and reporter and reporter.stats.get("skipped") and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = len(terminalreporter.stats.get("skipped", ()))
    if NO_SKIPS and skipped:
        terminalreporter.write_line(f"ERROR: {skipped} tests were skipped, and here none may be", red=True)


def _started(name: str) -> Iterator[LocalBroker]:
    try:
        broker = DRIVERS[name].start()
    except BrokerMissing as missing:
        if NO_SKIPS:
            raise
        pytest.skip(str(missing))
    with broker:
        yield broker


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[LocalBroker]:
    """A local RabbitMQ with AMQP and MQTT, shared by all tests of this process."""
    yield from _started("rabbitmq")


@pytest.fixture(scope="session")
def mosquitto() -> Iterator[LocalBroker]:
    """A local Mosquitto, shared by all tests of this process."""
    yield from _started("mosquitto")


@pytest.fixture(scope="session")
def embedded() -> Iterator[LocalBroker]:
    """The embedded brokers as processes of their own, shared by all tests of this process."""
    yield from _started("embedded")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a self-made authority (``ca.pem``) and a server's certificate (``server.pem``) for localhost."""
    return make_certificates(tmp_path_factory.mktemp("certificates"), "DNS:localhost")


@pytest.fixture(scope="session")
def mqproof() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the command ``mqproof``, as installed beside the running interpreter."""
    from sysconfig import get_path

    command = Path(get_path("scripts")) / "mqproof"

    def run(*arguments: object, seconds: float = 120, **options: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # type: ignore[call-overload,no-any-return]
            [str(command), *map(str, arguments)],
            capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL, **options,
        )  # fmt: skip

    return run


@pytest.fixture
def mqproof_here() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command line of ``mqproof`` in this process: for what is said and written, not for how a process ends."""
    from mqproof.harness.cli.failing import ended
    from mqproof.harness.cli.main import app

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = list(map(str, arguments))
        said = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
        with redirect_stdout(said[0]), redirect_stderr(said[1]):
            code = ended(lambda: app(words, prog_name="mqproof", standalone_mode=False))
        for stream in said:
            stream.seek(0)
        return subprocess.CompletedProcess(words, code, said[0].read(), said[1].read())

    return run
