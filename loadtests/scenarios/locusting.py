"""The engine's scenarios as plain Locust files: options, start and end hooked into Locust's own events.

``locust -f throughput.py -H amqp://localhost -u 4 -t 10s --rate 1000``; ``--master``, ``--worker``, ``--processes``,
the web UI, CSV and HTML are Locust's.
"""

import logging
from typing import Any

import gevent
from gevent.event import Event
from locust import events
from locust.runners import MasterRunner, WorkerRunner
from mqproof.harness.thresholds import Thresholds
from mqproof.loadtests.engine.running import Engine
from mqproof.loadtests.hosting import Publisher, be_worker, engine_of
from mqproof.loadtests.scenarios.catalogue import with_defaults
from mqproof.loadtests.settings import Settings

OPTIONS = {
    "rate": float, "payload": int, "qos": int, "prefetch": int, "queues": int, "consumers": int, "work": float,
    "window": int, "ramp": float,
}  # fmt: skip
UNTIL_STOPPED = 30 * 86_400.0
log = logging.getLogger(__name__)


def locust_file(scenario: str) -> type[Publisher]:
    """Return the user class of a scenario's Locust file, and hook its engine into Locust's events."""
    running: dict[str, Any] = {}
    hooks: Any = events

    def options(parser: Any) -> None:
        for name, kind in OPTIONS.items():
            says = f"of the scenario {scenario}; see mqproof load"
            parser.add_argument(f"--{name}", type=kind, default=None, help=says)

    def ready(environment: Any, runner: Any, **_: Any) -> None:
        if isinstance(runner, WorkerRunner):
            be_worker(_settings(scenario, environment, 1), environment)

    def begin(environment: Any, **_: Any) -> None:
        if not isinstance(environment.runner, WorkerRunner):
            running["stop"], running["done"] = Event(), Event()
            gevent.spawn(_run, scenario, environment, running)

    def end(environment: Any, **_: Any) -> None:
        if "stop" in running:
            running["stop"].set()
            running["done"].wait(90)

    hooks.init_command_line_parser.add_listener(options)
    hooks.init.add_listener(ready)
    hooks.test_start.add_listener(begin)
    hooks.test_stopping.add_listener(end)
    return Publisher


def _settings(scenario: str, environment: Any, users: int) -> Settings:
    given = {name: getattr(environment.parsed_options, name) for name in OPTIONS}
    given["workers"] = given.pop("consumers")
    numbers = with_defaults(scenario, {**given, "users": users})
    lasts = environment.parsed_options.run_time or UNTIL_STOPPED
    numbers["role"] = "master" if isinstance(environment.runner, MasterRunner) else "local"
    return Settings(scenario, environment.host or "amqp://localhost", duration=float(lasts), **numbers)


def _run(scenario: str, environment: Any, running: dict[str, Any]) -> None:
    engine: Engine | None = None
    try:
        settings = _settings(scenario, environment, max(1, environment.runner.target_user_count))
        engine = engine_of(settings, environment)
        engine.run(running["stop"])
    except Exception as error:  # Locust shows it and goes on serving its page
        log.error("%s: %s", type(error).__name__, error)
        environment.process_exit_code = 1
    if engine is not None:
        result = engine.result(running["stop"].is_set())
        log.info("ledger: %s", result["ledger"])
        for figure in result["figures"]:
            log.info("%(name)s: %(value)s %(unit)s", figure)
        for row in Thresholds().check(result):
            log.error("%(rule)s: %(value)s", row)
            environment.process_exit_code = 1
    running["done"].set()
    if environment.parsed_options.headless and not running["stop"].is_set():
        environment.runner.quit()
