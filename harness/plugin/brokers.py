"""Opens what ``--broker`` and ``mqproof test`` name: URLs are identified, names start a local broker."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from mqproof.harness.plugin.state import options
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.errors import TargetError
from mqproof.harness.targets.identify import identify
from mqproof.harness.targets.target import BadTarget, Target, Tls, parse_url

UNREACHABLE = 3  # the exit code for a target that cannot be examined


def open_targets(config: pytest.Config, resources: ExitStack) -> list[Target]:
    """Return the targets of ``--broker``, identified; what is started here ends with ``resources``.

    Raises UsageError for a name or URL that cannot be one, and pytest's Exit with code 3 for a target that cannot be
    examined.
    """
    try:
        return open_all(parse_all(options(config).mqproof_brokers, _tls(config)), resources)
    except BadTarget as error:
        raise pytest.UsageError(str(error)) from None
    except TargetError as error:
        pytest.exit(str(error), returncode=UNREACHABLE)


def parse_all(names: Iterable[str], tls: Tls | None = None) -> list[Target | str]:
    """Return a target for each URL and the name for each driver, in order. Raises BadTarget before anything starts."""
    return [parse_url(name, tls=tls) if "://" in name else _driver_name(name) for name in names]


def open_all(
    wanted: Sequence[Target | str], resources: ExitStack, protocols: Sequence[str] | None = None
) -> list[Target]:
    """Return the targets, identified, those of one local broker beside each other; all open at the same time.

    Raises TargetError; what was started until then ends with ``resources``.
    """
    with ThreadPoolExecutor(max_workers=max(len(wanted), 1)) as pool:
        opened = [pool.submit(_open, one, resources, protocols) for one in wanted]
    return [target for future in opened for target in future.result()]


def named_targets(config: pytest.Config) -> list[Target]:
    """Return targets by name only, started and asked by nobody: enough to collect tests. Raises UsageError."""
    try:
        wanted = parse_all(options(config).mqproof_brokers)
    except BadTarget as error:
        raise pytest.UsageError(str(error)) from None
    return [target for one in wanted for target in ([one] if isinstance(one, Target) else _placeholders(one))]


def _open(wanted: Target | str, resources: ExitStack, protocols: Sequence[str] | None) -> list[Target]:
    if isinstance(wanted, Target):
        return [identify(wanted)]
    driver = DRIVERS[wanted]
    spoken = [protocol for protocol in driver.protocols if protocols is None or protocol in protocols]
    if not spoken:
        return []
    broker = resources.enter_context(driver.start(spoken))
    return [identify(target) for target in broker.targets]


def _driver_name(name: str) -> str:
    if name not in DRIVERS:
        raise BadTarget(f"{name!r} is no target: write a URL such as amqp://HOST or one of {', '.join(DRIVERS)}")
    return name


def _placeholders(name: str) -> list[Target]:
    return [Target(f"{name}-{protocol}", protocol, "127.0.0.1", 1, driver=name) for protocol in DRIVERS[name].protocols]


def _tls(config: pytest.Config) -> Tls | None:
    option = options(config)
    ca_file = Path(option.mqproof_ca_file) if option.mqproof_ca_file else None
    return Tls(ca_file, option.mqproof_insecure) if ca_file or option.mqproof_insecure else None
