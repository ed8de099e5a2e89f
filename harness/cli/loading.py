"""What `mqproof load` does: opens the targets, runs a load process for each, checks, shows and writes the results."""

import json
import math
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from mqproof.harness.cli.exits import CONFORMS, DEVIATES, INTERNAL, INTERRUPTED, NOTHING, UNREACHABLE, USAGE
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.load_process import LoadFailed, run_process
from mqproof.harness.cli.load_showing import show
from mqproof.harness.cli.load_wishes import Wishes, fitting, read
from mqproof.harness.reporting.allure_measured import write_measured
from mqproof.harness.reporting.screen import Screen
from mqproof.harness.run import BadRun, Run, new_folder, write_atomically
from mqproof.harness.run import load as load_run
from mqproof.harness.targets.errors import TargetError
from mqproof.harness.targets.opening import open_all, read_password
from mqproof.harness.targets.target import BadTarget, Target, Tls
from mqproof.harness.thresholds import BadThreshold
from mqproof.harness.workload import BadWorkload
from mqproof.loadtests.scenarios.catalogue import WATCH
from mqproof.loadtests.scenarios.unused import spelt
from mqproof.loadtests.scenarios.weight import heaviness, things_to_make
from mqproof.loadtests.settings import BadSettings, Settings
from rich.console import Console

GENTLE_RATE, GENTLE_USERS = 1000, 200  # messages a second and connections that a stranger's broker bears unasked


def put_load(wishes: Wishes) -> int:
    """Run the scenario on every target. Returns the exit code; what goes wrong is one line on standard error."""
    try:
        return _put_load(wishes)
    except (BadTarget, BadSettings, BadThreshold, BadRun, BadWorkload) as error:
        return fail(USAGE, error)
    except TargetError as error:
        return fail(UNREACHABLE, error)
    except LoadFailed as error:
        return fail(INTERNAL, error)
    except KeyboardInterrupt:
        return INTERRUPTED


def _put_load(wishes: Wishes) -> int:
    wishes = read(wishes)
    for name in wishes.unused:
        sys.stderr.write(f"mqproof: {wishes.name} has no use for {spelt(name)}: it goes on without\n")
    console = Screen(stderr=wishes.json_out == "-")
    is_appended = wishes.out is not None and (wishes.out / "run.json").exists()
    run = load_run(wishes.out) if is_appended and wishes.out is not None else Run()
    results: list[dict[str, Any]] = []
    with ExitStack() as resources:
        if wishes.out is not None:
            _make(wishes.out, resources)
        insecure, ca_file = wishes.numbers["insecure"], wishes.numbers.get("ca_file")
        tls = Tls(Path(ca_file) if ca_file else None, insecure) if insecure or ca_file else None
        targets = open_all(fitting(wishes), resources, tls=tls, password=read_password(wishes.password_file))
        if wishes.numbers["role"] == "worker":
            return _work(wishes, targets[0], console)
        run.add_targets(targets)
        folder = wishes.out if wishes.out is not None else new_folder()
        try:
            _load_all(wishes, targets, folder, results, console)
        except (LoadFailed, TargetError, BadSettings):
            if results:
                _write(wishes, run, folder, results, console, is_whole=False)
            raise
    _write(wishes, run, folder, results, console)
    return _code(wishes, results)


def _make(folder: Path, resources: ExitStack) -> None:
    """Make the run directory before a broker is started; what stays empty is removed. Raises BadRun."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        resources.callback(_remove_empty, each)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise BadRun(f"--out {folder}: {error.strerror}") from None


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _load_all(
    wishes: Wishes, targets: list[Target], folder: Path, results: list[dict[str, Any]], console: Console
) -> None:
    """Load one target after the other; watch all of them at the same time."""
    prepared = [(target, _settings(wishes, target, folder)) for target in targets]
    for target, settings in prepared:
        _preflight(wishes, target, settings, console)
    if wishes.name == WATCH and len(prepared) > 1:
        with ThreadPoolExecutor(len(prepared)) as pool:
            running = [pool.submit(run_process, settings) for _, settings in prepared]
            for (target, settings), found in zip(prepared, running, strict=True):
                results.append(_entry(wishes, target, settings, found.result(), console))
        return
    for target, settings in prepared:
        results.append(_entry(wishes, target, settings, run_process(settings), console))
        if results[-1]["interrupted"] and wishes.name != WATCH:
            break


def _settings(wishes: Wishes, target: Target, folder: Path) -> Settings:
    max_qos = max((qos for qos in (1, 2) if f"qos-{qos}" in target.capabilities), default=0)
    name = file_name(wishes.name, target.name)
    return Settings(
        wishes.name, target.url, show_progress=sys.stderr.isatty(), product=target.product, max_qos=max_qos,
        capabilities=sorted(target.capabilities), html=str(folder / "locust" / f"{name}.html"),
        trace=str(folder / "traces" / name) if wishes.is_trace else "", **wishes.numbers,
    )  # fmt: skip


def file_name(scenario: str, target: str) -> str:
    """Return the name that files of a scenario on a target have."""
    return f"{scenario}-{target}".replace("/", "-").replace(":", "-")


def _work(wishes: Wishes, target: Target, console: Console) -> int:
    """Be a worker of a master elsewhere, until it says that all is over."""
    settings = Settings(wishes.name, target.url, show_progress=sys.stderr.isatty(), **wishes.numbers)
    console.print(f"worker of {settings.master_host}:{settings.master_port} for {target.redacted_url}", soft_wrap=True)
    run_process(settings)
    return CONFORMS


def _entry(
    wishes: Wishes, target: Target, settings: Settings, result: dict[str, Any], console: Console
) -> dict[str, Any]:
    if wishes.name == WATCH:
        result["was_watched_until_interrupted"] = result["interrupted"]
        result["interrupted"] = False  # that is how it ends
    entry = {
        "scenario": wishes.name, "target": target.name, "settings": settings.shown(), **result,
        "thresholds": wishes.thresholds.check(result),
    }  # fmt: skip
    show(entry, console, settings.trace)
    return entry


def _preflight(wishes: Wishes, target: Target, settings: Settings, console: Console) -> None:
    """Say what will be made and how hard it will be; a stranger's broker is loaded heavily only when that is said."""
    rate, connections = heaviness(settings)
    lasts = f"for {settings.duration:g} s" if settings.duration < 10 * 86_400 else "until Ctrl-C"
    console.print(
        f"{target.name}: {wishes.name} {lasts}, "
        f"{f'{rate:g} messages/s' if rate < math.inf else 'as many messages as it takes'}, at most {connections} "
        f"connections; {things_to_make(settings)} with the prefix {settings.prefix}, removed afterwards",
        soft_wrap=True,
    )
    if settings.connect_rate:
        seconds = connections / settings.connect_rate
        console.print(f"connecting at {settings.connect_rate:g} a second takes {seconds:.0f} s before that")
    if settings.role == "master":
        console.print(f"waiting for {settings.expect_workers} workers on port {settings.master_port}")
    is_heavy = rate > GENTLE_RATE or connections > GENTLE_USERS
    if is_heavy and not wishes.is_allowed and not target.is_local:
        raise BadSettings(
            f"{target.redacted_url} is not local, and this is more than {GENTLE_RATE} messages/s or {GENTLE_USERS} "
            "connections: add --yes-load-this-broker if that is meant"
        )


def _write(
    wishes: Wishes, run: Run, folder: Path, results: list[dict[str, Any]], console: Console, *, is_whole: bool = True
) -> None:
    for entry in results:
        histograms = entry.pop("histograms")
        name = file_name(entry["scenario"], entry["target"])
        earlier = sum(file_name(load.get("scenario", ""), load.get("target", "")) == name for load in run.loads)
        name += f"-{earlier + 1}" if earlier else ""
        write_atomically(folder / "histograms" / f"{name}.json", json.dumps(histograms, indent=1) + "\n")
        write_atomically(folder / "ledgers" / f"{name}.json", json.dumps(entry.pop("books")) + "\n")
    is_whole = is_whole and bool(results) and not any(entry["interrupted"] or entry["broken"] for entry in results)
    run.loads += results
    run.finish(is_whole and (run.complete or not run.planned))
    run.save(folder)
    write_measured(run, folder / "allure-results")
    if wishes.json_out:
        _write_json(wishes.json_out, results)
    console.print(f"run directory: {folder}", soft_wrap=True)


def _write_json(where: str, results: list[dict[str, Any]]) -> None:
    """Write the first target's result; those of further targets stand in it as ``others``."""
    document = {**results[0], "others": results[1:]} if len(results) > 1 else results[0]
    text = json.dumps(document, indent=1) + "\n"
    if where == "-":
        sys.stdout.write(text)
    else:
        write_atomically(Path(where), text)


def _code(wishes: Wishes, results: list[dict[str, Any]]) -> int:
    broken = [f"{entry['target']}: {entry['broken']}" for entry in results if entry["broken"]]
    if broken:
        fail(UNREACHABLE, "; ".join(broken))
    if any(entry["interrupted"] for entry in results):
        return INTERRUPTED
    if not all(row["passes"] for entry in results for row in entry["thresholds"]):
        return DEVIATES
    if broken:
        return UNREACHABLE
    if not all(entry["metrics"]["published"] for entry in results):
        return NOTHING
    return CONFORMS
