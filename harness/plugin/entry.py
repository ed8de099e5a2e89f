"""What pytest loads at start-up: options and markers only. The rest is imported on first use.

Everybody who installs mqproof loads this module in every pytest run of theirs, so it imports nothing and registers
nothing but names, until a broker is named.
"""

from collections.abc import Iterator
from typing import Any

import pytest

MARKERS = (
    'normative(*ids): the statements that this test examines, as "specification:id"',
    "needs(*capabilities): features that the specification leaves to the server; without them the test is unsupported",
    "slow: waits on real time, such as keep-alive or expiry",
    "sanity: stays green under every fault",
    "destructive: disturbs other users of the broker: only on a broker that mqproof started, or with --destructive",
)
NO_BROKER = "the suites of mqproof need a broker: add --broker URL (amqp://HOST, mqtt://HOST:1883) or --broker embedded"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register the options; those without help are internal."""
    group = parser.getgroup("mqproof", "message brokers under test (mqproof)")
    group.addoption(
        "--broker",
        action="append",
        dest="mqproof_brokers",
        metavar="URL|NAME",
        default=[],
        help="broker under test: amqp(s)://, mqtt(s)://, ws(s)://, or a local one to start: embedded, rabbitmq, "
        "mosquitto, amqtt (repeatable)",
    )
    parser.addini("saboteur_target", "the broker behind the fixture saboteur: a URL or a local one to start")
    group.addoption("--mqproof-run", metavar="DIR", default=None, help="write a run directory (run.json) there")
    group.addoption("--mqproof-prefix", metavar="NAME", default=None, help="prefix of every name made on the broker")
    group.addoption("--mqproof-patience", metavar="N", type=float, default=1.0, help="factor for every deadline")
    group.addoption("--mqproof-ca-file", metavar="FILE", default=None, help="authorities that verify the broker (TLS)")
    group.addoption("--mqproof-insecure", action="store_true", help="do not verify the broker's certificate")
    group.addoption("--mqproof-destructive", action="store_true", help="also tests that disturb others on the broker")
    group.addoption(
        "--mqproof-fail-on",
        choices=("must", "should"),
        default="must",
        help="weakest level whose deviation fails a test (default: must)",
    )
    group.addoption(
        "--mqproof-evidence",
        choices=("failed", "all"),
        default="failed",
        help="which tests keep their conversations: those that do not conform (default), or all",
    )
    group.addoption("--mqproof-statement", action="append", default=[], metavar="ID", help="only tests of a statement")
    group.addoption("--mqproof-level", action="append", default=[], metavar="LEVEL", help="only tests of a level")
    group.addoption("--mqproof-shuffle", type=int, default=None, metavar="SEED", help="run the tests in random order")
    group.addoption(
        "--mqproof-examples", type=int, default=None, metavar="N", help="how many random topologies and topics"
    )
    group.addoption("--mqproof-seed", type=int, default=1, metavar="SEED", help="of random examples (default: 1)")
    group.addoption("--mqproof-section", action="append", default=[], metavar="TEXT", help="only tests of a section")


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Register the one hook that others may implement."""
    pluginmanager.add_hookspecs(Hooks)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and everything else as soon as a broker is named."""
    for marker in MARKERS:
        config.addinivalue_line("markers", marker)
    if _is_wanted(config):
        from mqproof.harness.plugin import core

        core.register(config)
    elif any(str(argument).startswith("mqproof.suites") for argument in config.args) and not _only_shows(config):
        raise pytest.UsageError(NO_BROKER)


@pytest.fixture(scope="session")
def saboteur_target(pytestconfig: pytest.Config) -> str:
    """The broker behind ``saboteur``: the ini value of this name, else the embedded AMQP broker. Override it freely."""
    return str(pytestconfig.getini("saboteur_target") or "embedded-amqp")


@pytest.fixture(scope="session")
def saboteur_broker(saboteur_target: str) -> Iterator[Any]:
    """The broker of :func:`saboteur_target`, identified; one that is started here ends with the session."""
    from mqproof.harness.plugin.chaos import opened

    yield from opened(saboteur_target)


@pytest.fixture
def saboteur(saboteur_broker: Any) -> Iterator[Any]:
    """Stands before a broker: connect to ``saboteur.url``, and break it by ``saboteur.fault("lost-confirm")``."""
    from mqproof.harness.plugin.chaos import standing

    yield from standing(saboteur_broker)


class Hooks:
    """The hook through which a caller hands over brokers that already run."""

    @pytest.hookspec(firstresult=True)
    def pytest_mqproof_targets(self, config: pytest.Config) -> Any:
        """Return the targets (``list[Target]``) to test, or None to open those named by ``--broker``."""


def _is_wanted(config: pytest.Config) -> bool:
    return bool(
        config.option.mqproof_brokers
        or "mqproof" in getattr(config, "workerinput", {})
        or config.hook.pytest_mqproof_targets.get_hookimpls()
    )


def _only_shows(config: pytest.Config) -> bool:
    return bool(config.option.help or config.option.version or config.option.markers or config.option.showfixtures)
