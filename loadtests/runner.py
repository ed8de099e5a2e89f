"""The load process: reads settings from standard input, runs Locust headless, writes the result to standard output.

It is a process of its own because gevent patches the standard library, which must not happen to anything else.
"""

from gevent import monkey

monkey.patch_all()

import importlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from typing import Any  # noqa: E402

import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402
from locust.env import Environment  # noqa: E402
from mqproof.loadtests.settings import WELCOME_EMAIL, Settings  # noqa: E402

TICK = 0.5  # seconds between two looks at the clock, the parent and the progress
FAILED = 4


def run(settings: Settings, interrupted: Event) -> dict[str, Any]:
    """Run one scenario and return its result; ``interrupted`` ends it early, with what there is so far."""
    if settings.scenario != WELCOME_EMAIL:
        return _run_engine(settings, interrupted)
    module = importlib.import_module("mqproof.loadtests.scenarios.welcome_email")
    scenario_class, user_class = module.PARTS
    scenario = user_class.scenario = scenario_class(settings)
    environment = Environment(user_classes=[user_class])
    environment.mqproof = scenario  # type: ignore[attr-defined]
    runner = environment.create_local_runner()
    scenario.start()
    runner.start(settings.users, spawn_rate=max(settings.users, 1))
    _wait(settings, scenario, interrupted)
    scenario.close_counter()
    runner.quit()
    scenario.stop()
    result: dict[str, Any] = scenario.book.result()
    return {**result, "interrupted": interrupted.is_set(), "duration_s": round(_lasted(scenario), 3)}


def _run_engine(settings: Settings, interrupted: Event) -> dict[str, Any]:
    from mqproof.loadtests.engine.running import Engine
    from mqproof.loadtests.scenarios.catalogue import stages_of

    target = settings.target.with_(product=settings.product)
    engine = Engine(target, stages_of(settings), settings.prefix, lambda name, messages, octets: None)
    watch = gevent.spawn(_watch, settings, engine, interrupted)
    engine.run(interrupted)
    watch.kill()
    return engine.result(interrupted.is_set())


def _watch(settings: Settings, engine: Any, interrupted: Event) -> None:
    """End with the parent, and show progress."""
    parent = os.getppid()
    while not interrupted.wait(TICK):
        if os.getppid() != parent:
            interrupted.set()
        if settings.show_progress:
            sys.stderr.write(f"\r\x1b[K{engine.progress()}")
            sys.stderr.flush()


def _lasted(scenario: Any) -> float:
    return float((scenario.book.stopped or time.monotonic()) - scenario.book.started)


def _wait(settings: Settings, scenario: Any, interrupted: Event) -> None:
    parent, until = os.getppid(), time.monotonic() + settings.duration
    while (left := until - time.monotonic()) > 0:
        if interrupted.wait(min(TICK, left)):
            return
        if os.getppid() != parent:
            interrupted.set()
        if settings.show_progress:
            _show(scenario, left)


def _show(scenario: Any, left: float) -> None:
    found = scenario.book.ledger.findings()
    text = f"{left:5.0f} s left: {found.published:,} published, {found.delivered:,} delivered"
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()


def main() -> None:
    """Run what standard input asks for. Exit code 0, or 4 with one line on standard error."""
    settings = Settings.from_plain(json.loads(sys.stdin.readline()))
    interrupted = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, interrupted.set)
    try:
        result = run(settings, interrupted)
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(FAILED)
    if settings.show_progress:
        sys.stderr.write("\r\x1b[K")
    sys.stdout.write(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)  # what is left are greenlets that wait for brokers


if __name__ == "__main__":
    main()
