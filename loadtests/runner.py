"""The load process: reads settings from standard input, runs Locust, writes the result to standard output.

It is a process of its own because gevent patches the standard library, which must not happen to anything else. It is
also the worker process of a distributed run.
"""

from gevent import monkey

monkey.patch_all()

import importlib  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from typing import Any, NoReturn  # noqa: E402

import gevent  # noqa: E402
from gevent.event import Event  # noqa: E402
from locust.env import Environment  # noqa: E402
from mqproof.loadtests.engine.wire import Broken  # noqa: E402
from mqproof.loadtests.settings import WELCOME_EMAIL, BadSettings, Settings  # noqa: E402

TICK = 0.5  # seconds between two looks at the clock, the parent and the progress
REFUSED, UNREACHABLE, FAILED = 2, 3, 4
SIGNS_OF_LIFE = 8  # heartbeats, one a second, that a busy worker may miss before it counts as dead


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
    importlib.import_module("mqproof.loadtests.hosting").keep_html(settings, environment)
    runner.quit()
    scenario.stop()
    result: dict[str, Any] = scenario.book.result()
    return {**result, "interrupted": interrupted.is_set(), "duration_s": round(_lasted(scenario), 3),
            "figures": scenario.figures(), "broken": scenario.broken}  # fmt: skip


def _run_engine(settings: Settings, interrupted: Event) -> dict[str, Any]:
    from mqproof.loadtests import hosting

    environment = Environment(user_classes=[hosting.Publisher], host=settings.target.redacted_url)
    workers: list[Any] = []
    try:
        _create_runner(settings, environment, interrupted, workers)
        if settings.web_port:
            _await_web(settings, environment, interrupted)
        leftover = _clean(settings)
        engine = hosting.engine_of(settings, environment)
        if leftover is not None:
            engine.total.failed(leftover)
        watch = gevent.spawn(_watch, settings, engine, interrupted)
        server = _serve_metrics(settings, engine)
        if not settings.web_port:
            hosting.show_users(environment, settings.users)
        engine.run(interrupted)
        result = engine.result(interrupted.is_set())
        try:
            hosting.finish(settings, engine, environment)
        except OSError as error:  # such as a full disk: the results have to reach whoever can still write them
            result["errors"][f"a file beside the results is not whole: {error}"] = 1
        watch.kill()
        if server is not None:
            server.stop()
        return result
    finally:
        if environment.runner is not None:
            environment.runner.quit()
        for worker in workers:
            worker.stdin.close()
            worker.wait(timeout=20)


def _clean(settings: Settings) -> Broken | None:
    """Remove what dead runs left, as far as this user may: what stays is no reason not to load."""
    try:
        importlib.import_module("mqproof.loadtests.cleaning").clean(settings.target)
    except Broken as error:
        return error
    return None


def _create_runner(settings: Settings, environment: Environment, interrupted: Event, workers: list[Any]) -> None:
    from mqproof.loadtests import hosting

    if settings.role == "local" and settings.processes == 1:
        environment.create_local_runner()
        return
    locust_runners: Any = importlib.import_module("locust.runners")
    locust_runners.HEARTBEAT_LIVENESS = SIGNS_OF_LIFE
    is_here = settings.role == "local"
    host, port = ("127.0.0.1", _free_port()) if is_here else ("*", settings.master_port)
    environment.create_master_runner(host, port)
    if is_here:
        workers += hosting.spawn_workers(settings, port)
    hosting.await_workers(environment, settings.processes if is_here else settings.expect_workers, interrupted)


def _free_port() -> int:
    from mqproof.harness.targets.drivers.ports import Port

    port = Port.reserve()
    port.release()
    return port.number


def _await_web(settings: Settings, environment: Environment, interrupted: Event) -> None:
    """Serve Locust's web UI and wait until somebody starts the run there; its Stop button ends it."""
    started = Event()
    events: Any = environment.events
    events.test_start.add_listener(lambda **_: started.set())
    events.test_stopping.add_listener(lambda **_: interrupted.set())
    environment.create_web_ui(settings.web_host, settings.web_port)
    gevent.spawn(importlib.import_module("locust.stats").stats_history, environment.runner)
    sys.stderr.write(f"start the run at http://{settings.web_host}:{settings.web_port}\n")
    while not started.wait(TICK) and not interrupted.is_set():
        pass


def _serve_metrics(settings: Settings, engine: Any) -> Any:
    if not settings.metrics_port:
        return None
    from mqproof.loadtests.metrics import serve

    return serve(engine, settings.metrics_port)


def _work(settings: Settings, interrupted: Event) -> None:
    """Be a worker until the master says that all is over, or our parent is gone."""
    from mqproof.loadtests import hosting
    from mqproof.loadtests.engine import kernels

    kernels.warm()  # before the master counts our heartbeats
    environment = Environment(user_classes=[hosting.Publisher])
    runner = environment.create_worker_runner(settings.master_host, settings.master_port)
    hosting.be_worker(settings, environment)
    parent = os.getppid()
    while not interrupted.wait(TICK) and os.getppid() == parent and runner.greenlet.greenlets:
        pass
    os._exit(0)


def _watch(settings: Settings, engine: Any, interrupted: Event) -> None:
    """End with the parent, and show progress."""
    parent = os.getppid()
    while not interrupted.wait(TICK):
        if os.getppid() != parent:
            interrupted.set()
        if settings.show_progress:
            sys.stderr.write(f"\r\x1b[K{engine.progress()[:78]}")
            sys.stderr.flush()


def _lasted(scenario: Any) -> float:
    return float((scenario.book.stopped or time.monotonic()) - scenario.book.started)


def _wait(settings: Settings, scenario: Any, interrupted: Event) -> None:
    parent, until = os.getppid(), time.monotonic() + settings.duration
    while (left := until - time.monotonic()) > 0:
        if interrupted.wait(min(TICK, left)) or scenario.broken:
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
    """Run what standard input asks for.

    Exit code 0; or 2 for wrong usage, 3 for a broker that cannot be loaded and 4 for the rest, with the reason instead
    of a result: a worker, whose output nobody reads, says it on standard error.
    """
    settings = Settings.from_plain(json.loads(sys.stdin.readline()))
    logging.disable(logging.WARNING)  # Locust's; what matters is in the result
    interrupted = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        gevent.signal_handler(number, interrupted.set)
    try:
        if settings.role == "worker":
            _work(settings, interrupted)
        result = run(settings, interrupted)
    except BadSettings as error:
        _fail(settings, REFUSED, str(error))
    except Broken as error:
        _fail(settings, UNREACHABLE, f"{settings.target.redacted_url}: {error}")
    except Exception as error:
        _fail(settings, FAILED, f"{type(error).__name__}: {error}")
    if settings.show_progress:
        sys.stderr.write("\r\x1b[K")
    sys.stdout.write(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)  # what is left are greenlets that wait for brokers


def _fail(settings: Settings, code: int, text: str) -> NoReturn:
    if settings.role == "worker":
        sys.stderr.write(f"{text}\n")
    else:
        sys.stdout.write(json.dumps({"failed": text}))
    sys.exit(code)


if __name__ == "__main__":
    main()
