"""The engine inside Locust: its environment, its users (shown, not used), its statistics, master and workers.

Used by the load process of ``mqproof load`` and by the scenarios' plain Locust files.
"""

import importlib
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from locust import User, constant, task
from locust.env import Environment
from mqproof.harness.targets.target import Target
from mqproof.loadtests.engine.crew import Crew, LocalCrew
from mqproof.loadtests.engine.distributed import DistributedCrew, WorkerSide
from mqproof.loadtests.engine.names import Names
from mqproof.loadtests.engine.running import Engine
from mqproof.loadtests.engine.traffic import Traffic
from mqproof.loadtests.feeding import Feed
from mqproof.loadtests.journal import Journal
from mqproof.loadtests.scenarios.catalogue import figures_of, stages_of
from mqproof.loadtests.settings import Settings
from mqproof.loadtests.tracing import Trace, write_fates
from mqproof.loadtests.watching import Watch

MOST_USERS = 1000  # that are shown; each is a greenlet that only waits
WORKERS_SECONDS = 120.0  # until all workers have to be there


class MissingWorkers(Exception):
    """Not all workers came; one line."""


class Publisher(User):
    """Stands for one publisher of the engine in Locust's counts; the engine does its work."""

    wait_time = constant(3600)

    @task
    def is_done_by_the_engine(self) -> None:
        """Do nothing: greenlets of the engine publish."""


def engine_of(settings: Settings, environment: Environment) -> Engine:
    """Return the engine of a scenario, with the crew that the environment's runner means."""
    target, stages = settings.target, stages_of(settings)
    names = Names(settings.prefix, settings.token)
    crew: Crew
    if settings.role == "master" or settings.processes > 1:
        crew = DistributedCrew(environment.runner, settings.for_workers())
    else:
        trace = Trace(Path(settings.trace) / "arrivals.csv") if settings.trace else None
        crew = LocalCrew(target, Feed(environment, target.protocol, settings.payload), trace)
    return Engine(
        target, stages, names, crew, Watch(target, settings.stats_url),
        lambda results, total: figures_of(settings.scenario, results, total), Journal(target, names.token),
    )  # fmt: skip


def finish(settings: Settings, engine: Engine, environment: Environment) -> None:
    """Write what is asked for beside the result: every message's fate, and Locust's own report."""
    if settings.trace:
        if isinstance(engine.crew, LocalCrew) and engine.crew.trace is not None:
            engine.crew.trace.close()
        write_fates(engine.total.ledger, Path(settings.trace) / "fates.csv")
    keep_html(settings, environment)


def keep_html(settings: Settings, environment: Environment) -> None:
    """Write Locust's own report where the settings want it."""
    if settings.html:
        html: Any = importlib.import_module("locust.html")
        file = Path(settings.html)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(html.get_html_report(environment, show_download_link=False), encoding="utf-8")


def be_worker(settings: Settings, environment: Environment) -> WorkerSide:
    """Do what a master asks, with the target of our own settings."""

    def stages(told: dict[str, Any]) -> tuple[Target, list[Traffic]]:
        mine = {"url": settings.url, "ca_file": settings.ca_file, "insecure": settings.insecure}
        merged = Settings.from_plain({**told, **mine})
        return merged.target, stages_of(merged)

    return WorkerSide(environment.runner, stages, Feed(environment, settings.target.protocol, settings.payload))


def spawn_workers(settings: Settings, port: int) -> list["subprocess.Popen[bytes]"]:
    """Start worker processes here; their settings go through a pipe, so that no password is seen."""
    workers = []
    changed = {"role": "worker", "master_port": port, "master_host": "127.0.0.1", "processes": 1, "web_port": 0}
    told = json.dumps({**settings.plain(), **changed, "show_progress": False}).encode() + b"\n"
    for _ in range(settings.processes):
        worker = subprocess.Popen(
            [sys.executable, "-m", "mqproof.loadtests.runner"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            start_new_session=True,
        )  # fmt: skip
        assert worker.stdin is not None
        worker.stdin.write(told)
        worker.stdin.flush()  # it stays open: the worker ends when it is closed
        workers.append(worker)
    return workers


def await_workers(environment: Environment, count: int, interrupted: Event) -> None:
    """Wait until so many workers are ready. Raises MissingWorkers."""
    runner: Any = environment.runner
    until = time.monotonic() + WORKERS_SECONDS
    while len(runner.clients.ready) < count and not interrupted.is_set():
        if time.monotonic() > until:
            there = len(runner.clients.ready)
            raise MissingWorkers(f"{there} of {count} workers came within {WORKERS_SECONDS:.0f} s")
        gevent.sleep(0.02)


def show_users(environment: Environment, count: int) -> None:
    """Let Locust show as many users as there are publishers."""
    runner: Any = environment.runner
    shown = max(1, min(count, MOST_USERS))
    gevent.spawn(runner.start, shown, spawn_rate=shown)
