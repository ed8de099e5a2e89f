"""From words on a command line to targets that answered: URLs are asked, names start a local broker."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.drivers.base import Driver, LocalBroker
from mqproof.harness.targets.identify import identify
from mqproof.harness.targets.target import PROTOCOLS, BadTarget, Target, Tls, parse_url, redact

PASSWORD_VARIABLE = "MQPROOF_PASSWORD"
KEPT_LINES = 2000  # of a broker's log


def open_all(
    words: Sequence[str],
    resources: ExitStack,
    *,
    tls: Tls | None = None,
    password: str | None = None,
    options: Mapping[str, str] | None = None,
    logs: Path | None = None,
) -> list[Target]:
    """Return the identified targets that ``words`` name, in their order; what is started ends with ``resources``.

    A word is a URL or a driver's name; ``rabbitmq-mqtt`` starts it for one protocol only. ``password`` is for URLs
    with a user and no password, and comes from MQPROOF_PASSWORD when None; ``options`` go to every driver; ``logs`` is
    the folder in which the end of each started broker's log stays. Raises BadTarget before anything is started, and
    TargetError.
    """
    password = read_password() if password is None else password
    plans = [plan(word, tls=tls, password=password) for word in words]
    targets: list[Target] = []
    for planned in plans:
        if isinstance(planned, Target):
            targets.append(identify(planned))
        else:
            driver, protocols = planned
            broker = resources.enter_context(driver.start(protocols, options=options))
            if logs is not None:
                resources.callback(_keep_logs, broker, logs)
            targets += map(identify, broker.targets)
    return targets


def _keep_logs(broker: LocalBroker, folder: Path) -> None:
    """Write the last lines of a broker's log, one file for each target."""
    text = broker.log_tail(KEPT_LINES)
    folder.mkdir(parents=True, exist_ok=True)
    for target in broker.targets if text else ():
        (folder / f"{target.name}.log").write_text(text + "\n", encoding="utf-8", errors="replace")


def plan(word: str, *, tls: Tls | None = None, password: str | None = None) -> Target | tuple[Driver, tuple[str, ...]]:
    """Return what ``word`` means: a target to ask, or a driver to start and for which protocols. Raises BadTarget."""
    if "://" in word:
        target = parse_url(word, tls=tls)
        is_asked = target.user is not None and target.password is None
        return target.with_(password=password) if is_asked else target
    if word in DRIVERS:
        return DRIVERS[word], DRIVERS[word].protocols
    name, _, protocol = word.rpartition("-")
    if name in DRIVERS and protocol in DRIVERS[name].protocols:
        return DRIVERS[name], (protocol,)
    raise BadTarget(
        f"{redact(word)!r} is no target: write a URL ({'://, '.join(PROTOCOLS)}://) or one of {', '.join(DRIVERS)}"
    )


def protocols_of(word: str) -> tuple[str, ...]:
    """Return which protocols the targets speak that ``word`` means. Raises BadTarget."""
    planned = plan(word)
    return (planned.protocol,) if isinstance(planned, Target) else planned[1]


def read_password(file: Path | None = None) -> str | None:
    """Return the password that stands in ``file`` (its first line), else in MQPROOF_PASSWORD. Raises BadTarget."""
    if file is None:
        return os.environ.get(PASSWORD_VARIABLE)
    try:
        return file.read_text(encoding="utf-8").partition("\n")[0].removesuffix("\r")
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or "it is not UTF-8 text"
        raise BadTarget(f"--password-file {file}: {reason}") from None
