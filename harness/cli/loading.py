"""What `mqproof load` does: opens the targets, runs a load process for each, checks, shows and writes the results."""

import difflib
import json
import math
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mqproof.harness.cli.exits import CONFORMS, DEVIATES, INTERNAL, INTERRUPTED, NOTHING, UNREACHABLE, USAGE
from mqproof.harness.run import BadRun, Run, new_folder, write_atomically
from mqproof.harness.run import load as load_run
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.errors import TargetError
from mqproof.harness.targets.opening import open_all, read_password
from mqproof.harness.targets.target import BadTarget, Target, Tls, redact
from mqproof.harness.thresholds import BadThreshold, Thresholds
from mqproof.loadtests.scenarios.catalogue import SCENARIOS, names, stages_of, with_defaults
from mqproof.loadtests.settings import WELCOME_EMAIL, BadSettings, Settings
from rich.console import Console
from rich.table import Table

GENTLE_RATE, GENTLE_USERS = 1000, 200  # messages a second and connections that a stranger's broker bears unasked
GRACE = 90.0  # seconds beyond the duration for connecting, draining and removing
LOCAL = ("127.0.0.1", "::1", "localhost")


class LoadFailed(Exception):
    """The load process could not do its work; one line."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for. ``numbers``: fields of :class:`Settings`."""

    scenario: str
    targets: list[str]
    numbers: dict[str, Any]
    json_out: str
    out: Path | None
    password_file: Path | None
    thresholds: Thresholds
    is_allowed: bool


def put_load(wishes: Wishes) -> int:
    """Run the scenario on every target. Returns the exit code; what goes wrong is one line on standard error."""
    try:
        return _put_load(wishes)
    except (BadTarget, BadSettings, BadThreshold, BadRun) as error:
        return _fail(USAGE, error)
    except TargetError as error:
        return _fail(UNREACHABLE, error)
    except LoadFailed as error:
        return _fail(INTERNAL, error)
    except KeyboardInterrupt:
        return INTERRUPTED


def _put_load(wishes: Wishes) -> int:
    _check(wishes)
    console = Console(highlight=False, stderr=wishes.json_out == "-")
    run = load_run(wishes.out) if wishes.out is not None and (wishes.out / "run.json").exists() else Run()
    results: list[dict[str, Any]] = []
    with ExitStack() as resources:
        insecure, ca_file = wishes.numbers["insecure"], wishes.numbers.get("ca_file")
        tls = Tls(Path(ca_file) if ca_file else None, insecure) if insecure or ca_file else None
        words = _fitting(wishes)
        targets = open_all(words, resources, tls=tls, password=read_password(wishes.password_file))
        run.add_targets(targets)
        for target in targets:
            try:
                results.append(_on_target(wishes, target, console))
            except LoadFailed:
                if results:
                    _write(wishes, run, results, console, is_whole=False)
                raise
            if results[-1]["interrupted"]:
                break
    _write(wishes, run, results, console)
    return _code(results)


def _fitting(wishes: Wishes) -> list[str]:
    """Return the targets' words, local brokers narrowed to the protocols that the scenario is for."""
    if wishes.scenario == WELCOME_EMAIL:
        return wishes.targets
    protocols = SCENARIOS[wishes.scenario].protocols
    words = []
    for word in wishes.targets:
        spoken = DRIVERS[word].protocols if word in DRIVERS else ()
        fitting = [f"{word}-{protocol}" for protocol in spoken if protocol in protocols]
        words += fitting if len(spoken) > 1 and len(fitting) < len(spoken) and fitting else [word]
    return words


def _check(wishes: Wishes) -> None:
    """Refuse what cannot be meant, before anything is started."""
    if wishes.scenario not in names():
        near = difflib.get_close_matches(wishes.scenario, names(), n=1)
        hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(names())}"
        raise BadSettings(f"no scenario is called {wishes.scenario!r}: {hint}")
    for word in wishes.targets:
        if word.startswith(("ws://", "wss://")):
            raise BadSettings(f"load does not go by WebSocket: name the mqtt:// URL instead of {redact(word)}")
    numbers = with_defaults(wishes.scenario, wishes.numbers)
    wishes.numbers.clear()
    wishes.numbers.update(numbers)
    Settings(wishes.scenario, "amqp://localhost", **wishes.numbers)
    wishes.thresholds.check({"metrics": {"latency_us": {"p99": 0}, "delivery_rate_msg_s": 0}, "ledger": {"lost": 0}})


def _on_target(wishes: Wishes, target: Target, console: Console) -> dict[str, Any]:
    max_qos = max((qos for qos in (1, 2) if f"qos-{qos}" in target.capabilities), default=0)
    settings = Settings(
        wishes.scenario, target.url, show_progress=sys.stderr.isatty(), product=target.product, max_qos=max_qos,
        **wishes.numbers,
    )  # fmt: skip
    _preflight(wishes, target, settings, console)
    result = _run_process(settings)
    entry = {
        "scenario": wishes.scenario,
        "target": target.name,
        "settings": settings.shown(),
        **result,
        "thresholds": wishes.thresholds.check(result),
    }
    _show(entry, console)
    return entry


def _preflight(wishes: Wishes, target: Target, settings: Settings, console: Console) -> None:
    """Say what will be made and how hard it will be; a stranger's broker is loaded heavily only when that is said."""
    rate, connections = _heaviness(settings)
    console.print(
        f"{target.name}: {wishes.scenario} for {settings.duration:g} s, "
        f"{f'{rate:g} messages/s' if rate < math.inf else 'as many messages as it takes'}, at most {connections} "
        f"connections; names with the prefix {settings.prefix}, removed afterwards",
        soft_wrap=True,
    )
    is_heavy = rate > GENTLE_RATE or connections > GENTLE_USERS
    if is_heavy and not wishes.is_allowed and target.host not in LOCAL:
        raise BadSettings(
            f"{target.redacted_url} is not local, and this is more than {GENTLE_RATE} messages/s or {GENTLE_USERS} "
            "connections: add --yes-load-this-broker if that is meant"
        )


def _heaviness(settings: Settings) -> tuple[float, int]:
    """Return messages per second and connections, both at their highest."""
    if settings.scenario == WELCOME_EMAIL:
        return settings.users * settings.rate, settings.users + settings.workers
    stages = stages_of(settings)
    rates = [rate or math.inf for stage in stages for _, rate in stage.phases]
    return max(rates), max(stage.publishers + stage.routes * stage.consumers for stage in stages)


def _run_process(settings: Settings) -> dict[str, Any]:
    """Run the load process. On Ctrl-C it gets the signal, too, and ends by itself with the results so far."""
    command = [sys.executable, "-m", "mqproof.loadtests.runner"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=_errors(settings), text=True
    ) as process:
        try:
            output, said = _communicate(process, json.dumps(settings.plain()) + "\n", settings.duration + GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise LoadFailed(f"the load process did not end {GRACE:.0f} s after its time") from None
    if process.returncode != 0 or not output:
        last = (said or "").strip().splitlines()[-1:] or [f"it ended with {process.returncode} and without a word"]
        raise LoadFailed(f"the load process failed: {last[0]}")
    result: dict[str, Any] = json.loads(output)
    return result


def _errors(settings: Settings) -> int | None:
    return None if settings.show_progress else subprocess.PIPE


def _communicate(process: "subprocess.Popen[str]", text: str, seconds: float) -> tuple[str, str]:
    try:
        return process.communicate(text, timeout=seconds)
    except KeyboardInterrupt:
        output, said = process.communicate(timeout=GRACE)
        if not output:
            raise  # it was interrupted before it had begun
        return output, said


def _write(
    wishes: Wishes, run: Run, results: list[dict[str, Any]], console: Console, *, is_whole: bool = True
) -> None:
    folder = wishes.out if wishes.out is not None else new_folder()
    for entry in results:
        histograms = entry.pop("histograms")
        name = f"{entry['scenario']}-{entry['target']}".replace("/", "-").replace(":", "-")
        write_atomically(folder / "histograms" / f"{name}.json", json.dumps(histograms, indent=1) + "\n")
    is_whole = is_whole and bool(results) and not any(entry["interrupted"] for entry in results)
    run.loads += results
    run.finish(is_whole and (run.complete or not run.planned))
    run.save(folder)
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


def _code(results: list[dict[str, Any]]) -> int:
    if any(entry["interrupted"] for entry in results):
        return INTERRUPTED
    if not all(row["passes"] for entry in results for row in entry["thresholds"]):
        return DEVIATES
    if not all(entry["metrics"]["published"] for entry in results):
        return NOTHING
    return CONFORMS


def _fail(code: int, error: Exception) -> int:
    sys.stderr.write(f"mqproof: {error}\n")
    return code


def _show(entry: dict[str, Any], console: Console) -> None:
    latencies = Table("latency in ms", box=None)
    for name in ("p50", "p90", "p99", "p99.9", "max"):
        latencies.add_column(name, justify="right")
    for name, found in entry["latencies_us"].items():
        latencies.add_row(name, *(_milliseconds(found[key]) for key in ("p50", "p90", "p99", "p999", "max")))
    console.print(latencies)
    _show_stages(entry, console)
    metrics, ledger = entry["metrics"], entry["ledger"]
    rate = metrics["delivery_rate_msg_s"]
    console.print(
        f"  {metrics['published']:,} published, {metrics['confirmed']:,} confirmed, {metrics['delivered']:,} delivered"
        f" at {f'{rate:,.0f}' if rate is not None else 'no'} messages/s"
    )
    console.print("  " + ", ".join(f"{name} {ledger[name]:,}" for name in LEDGER), style=_alarm(ledger))
    for name, count in entry["counts"].items():
        console.print(f"  {name}: {count:,}")
    for error, count in entry["errors"].items():
        console.print(f"  {count} times: {error}", style="red", soft_wrap=True)
    for row in entry["thresholds"]:
        verdict = "holds" if row["passes"] else "is missed"
        console.print(f"  {row['rule']}: {row['value']}, bound {row['bound']:g}: {verdict}")
    console.print()


def _show_stages(entry: dict[str, Any], console: Console) -> None:
    """Print a line for each stage of a scenario that has several."""
    if len(entry.get("stages", ())) < 2:
        return
    table = Table("stage", box=None)
    for heading in ("delivered", "messages/s", "p50 ms", "p99 ms", "lost"):
        table.add_column(heading, justify="right")
    for stage in entry["stages"]:
        metrics = stage["metrics"]
        rate, latency = metrics["delivery_rate_msg_s"], metrics["latency_us"]
        table.add_row(
            stage["stage"], f"{metrics['delivered']:,}", f"{rate:,.0f}" if rate is not None else "-",
            _milliseconds(latency["p50"]), _milliseconds(latency["p99"]), f"{stage['ledger']['lost']:,}",
        )  # fmt: skip
    console.print(table)


LEDGER = ("lost", "duplicated", "reordered", "corrupted", "unexpected")


def _alarm(ledger: dict[str, Any]) -> str:
    return "bold red" if any(ledger[name] for name in LEDGER) else "green"


def _milliseconds(microseconds: int | None) -> str:
    if microseconds is None:
        return "-"
    value = microseconds / 1000
    return f"{value:.{max(0, 2 - int(math.log10(max(value, 1))))}f}"
