"""Opens what ``--broker`` names, with errors as pytest words them."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import pytest
from mqproof.harness.plugin.state import options, state_of
from mqproof.harness.probing.mqtt_rights import must_carry
from mqproof.harness.targets.drivers.base import Driver
from mqproof.harness.targets.errors import TargetError
from mqproof.harness.targets.opening import open_all, plan
from mqproof.harness.targets.target import BadTarget, Target, Tls

UNREACHABLE = 3  # the exit code for a target that cannot be examined


def open_targets(config: pytest.Config, resources: ExitStack) -> list[Target]:
    """Return the targets of ``--broker``, identified; what is started here ends with ``resources``.

    Raises UsageError for a name or URL that cannot be one, and pytest's Exit with code 3 for a target that cannot be
    examined.
    """
    try:
        targets = open_all(options(config).mqproof_brokers, resources, tls=_tls(config))
        return with_unique_names(must_carry(target, state_of(config).prefix) for target in targets)
    except BadTarget as error:
        raise pytest.UsageError(str(error)) from None
    except TargetError as error:
        pytest.exit(str(error), returncode=UNREACHABLE)


def named_targets(config: pytest.Config) -> list[Target]:
    """Return targets by name only, started and asked by nobody. Raises UsageError."""
    try:
        plans = [(name, plan(name)) for name in options(config).mqproof_brokers]
    except BadTarget as error:
        raise pytest.UsageError(str(error)) from None
    return with_unique_names(target for name, planned in plans for target in _unopened(name, planned))


def with_unique_names(targets: Iterable[Target]) -> list[Target]:
    """Return the targets with a number behind the name of each that an earlier one has, too."""
    seen: dict[str, int] = {}
    result = []
    for target in targets:
        seen[target.name] = seen.get(target.name, 0) + 1
        number = seen[target.name]
        result.append(target if number == 1 else target.with_(name=f"{target.name}-{number}"))
    return result


def _unopened(name: str, planned: Target | tuple[Driver, tuple[str, ...]]) -> list[Target]:
    if isinstance(planned, Target):
        return [planned]
    driver, protocols = planned
    return [Target(f"{driver.name}-{protocol}", protocol, "127.0.0.1", 1, driver=name) for protocol in protocols]


def _tls(config: pytest.Config) -> Tls | None:
    option = options(config)
    ca_file = Path(option.mqproof_ca_file) if option.mqproof_ca_file else None
    return Tls(ca_file, option.mqproof_insecure) if ca_file or option.mqproof_insecure else None
