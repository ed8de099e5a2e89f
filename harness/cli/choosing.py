"""What ``mqproof choose`` does: starts each broker for each workload, measures, judges, writes the verdict."""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mqproof.harness.choose import (
    Candidate,
    choose,
    dominant,
    facts_of_load,
    facts_of_memory,
    facts_of_run,
    facts_of_sample,
    needs_of,
    proofs_of,
)
from mqproof.harness.choose_claims import claims
from mqproof.harness.choose_devices import NoAnswer
from mqproof.harness.choose_measure import cpu_of, memory, sample
from mqproof.harness.cli.exits import CONFORMS, DEVIATES, INTERNAL, INTERRUPTED, NOTHING, UNREACHABLE, USAGE
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.load_process import LoadFailed, run_process
from mqproof.harness.cli.waiting import waiting
from mqproof.harness.reporting.choose_page import Report, markdown, page
from mqproof.harness.reporting.screen import Screen
from mqproof.harness.run import BadRun, Run, load, new_folder, now, write_atomically
from mqproof.harness.targets.drivers.certificates import SPEAK_TLS, make_certificates
from mqproof.harness.targets.errors import TargetError, Unreachable
from mqproof.harness.targets.identify import identify
from mqproof.harness.targets.opening import plan, read_password
from mqproof.harness.targets.target import BadTarget, Target, redact
from mqproof.harness.workload import BadWorkload, Workload, read
from mqproof.loadtests.messages import SMALLEST
from mqproof.loadtests.settings import Settings
from rich.console import Console

REPEATS: Final = 3  # of the load at full speed
PACED: Final = (200.0, 2000.0)  # messages a second: enough for percentiles, and below a small machine's limit


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line asks for."""

    targets: list[str]
    workloads: list[str]
    out: Path | None
    run: Path | None
    seconds: float
    as_json: bool


def measure_and_choose(wishes: Wishes) -> int:
    """Measure and write. Returns the exit code; what goes wrong is one line on standard error."""
    try:
        return _measure_and_choose(wishes)
    except (BadTarget, BadWorkload, BadRun, ValueError) as error:
        return fail(USAGE, error)
    except (TargetError, NoAnswer, OSError) as error:
        return fail(UNREACHABLE, error)
    except LoadFailed as error:
        return fail(INTERNAL, error)
    except KeyboardInterrupt:
        return INTERRUPTED


def _measure_and_choose(wishes: Wishes) -> int:
    if len(wishes.targets) != 2:
        raise BadTarget(f"two targets are compared, not {len(wishes.targets)}")
    workloads = {name: read(name) for name in wishes.workloads}
    words = [_one_protocol(word) for word in wishes.targets]
    console = Screen(stderr=True)
    out = wishes.out or new_folder()
    conformance = load(wishes.run) if wishes.run else _judged(words, workloads, out, console)
    report = Report(now()[:10], Run().tool["version"], _machine())
    with tempfile.TemporaryDirectory(prefix="mqproof-certificates-") as certificates:
        is_any_local = any("://" not in word for word in words)
        if is_any_local and any(workload.tls for workload in workloads.values()):
            make_certificates(Path(certificates))
        bench = Bench(conformance, wishes.seconds, out, Path(certificates), console)
        for name, workload in workloads.items():
            candidates = [_measured(bench, word, workload, Path(name).stem) for word in words]
            report.choices.append(choose(Path(name).stem, workload, candidates))
    report.claims = claims(report.choices, conformance)
    write_atomically(out / "verdict.md", markdown(report))
    write_atomically(out / "verdict.html", page(report))
    write_atomically(out / "verdict.json", json.dumps(report.plain(), indent=1) + "\n")
    _print(report, out, wishes.as_json)
    return CONFORMS


def _one_protocol(word: str) -> str:
    """Return a local broker's name with its first protocol. Raises BadTarget."""
    planned = plan(word, password=read_password())
    if isinstance(planned, Target):
        return word
    driver, protocols = planned
    return f"{driver.name}-{protocols[0]}"


def _judged(words: list[str], workloads: dict[str, Workload], out: Path, console: Console) -> Run:
    """Judge both targets, first quickly, then what the workloads need and takes its time."""
    console.print("judging both brokers")
    with waiting("judging"):
        return _judged_twice(words, workloads, out)


def _judged_twice(words: list[str], workloads: dict[str, Workload], out: Path) -> Run:
    quick = _mqproof_test(["--quick"], words, out / "conformance")
    needed = sorted({key for workload in workloads.values() for key in proofs_of(workload)})
    judged = {f"{row['spec']}:{row['id']}" for row in quick.statements}
    missing = [key for key in needed if key not in judged]
    if missing:
        options = [word for key in missing for word in ("--statement", key)]
        more = _mqproof_test(options, words, out / "conformance-slow")
        quick.statements += more.statements
    return quick


def _mqproof_test(options: list[str], words: list[str], folder: Path) -> Run:
    """Run the suites in a process of their own. Raises BadRun."""
    command = [sys.executable, "-P", "-m", "mqproof.harness.cli", "test", *words, *options, "--out", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (CONFORMS, DEVIATES, NOTHING):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BadRun(f"the brokers cannot be judged: {last}")
    return load(folder)


@dataclass(frozen=True, slots=True)
class Bench:
    """What every measurement needs. ``seconds``: of each load. ``certificates``: for brokers that are to speak TLS."""

    conformance: Run
    seconds: float
    out: Path
    certificates: Path
    console: Console


def _measured(bench: Bench, word: str, workload: Workload, name: str) -> Candidate:
    bench.console.print(f"{name} on {redact(word)}")
    with waiting("measuring"):
        return _with_facts(bench, word, workload, name)


def _with_facts(bench: Bench, word: str, workload: Workload, name: str) -> Candidate:
    options = {"certificates": str(bench.certificates)} if workload.tls else {}
    with _started(word, options) as (target, pids):
        found = Candidate(target.name, target.product, target.version, target.protocol)
        used = memory(target, pids, workload, "mqproofmem") if pids else None
    with _started(word, options) as (target, pids):  # anew: thousands of queued messages lie in the other's way
        seen = sample(target, workload, bench.out / "captures" / name, "mqproofdev")
        found.first_publish, found.tls = seen.first_publish.hex(), seen.tls
        found.facts |= facts_of_sample(workload, seen, target.protocol)
        found.facts |= _loads(target, pids, workload, bench.seconds)
        found.facts |= facts_of_memory(workload, used)
    found.facts |= facts_of_run(bench.conformance, target.name)
    found.needs = needs_of(workload, bench.conformance, target.name, target.protocol)
    return found


@contextmanager
def _started(word: str, options: dict[str, str]) -> Iterator[tuple[Target, list[int]]]:
    """A broker that was just started, with its processes; or somebody else's, without."""
    planned = plan(word, password=read_password())
    if isinstance(planned, Target):
        yield identify(planned), []
        return
    driver, protocols = planned
    with driver.start(protocols, options=options if driver.name in SPEAK_TLS else None) as broker:
        yield identify(broker.targets[0]), broker.pids


def _loads(target: Target, pids: list[int], workload: Workload, seconds: float) -> dict[str, Any]:
    """Put load on the broker: once paced at about the workload's rate, then several times as fast as it goes."""
    rate = min(max(workload.rate, PACED[0]), PACED[1])
    paced = run_process(_settings(target, workload, seconds, rate))
    before = cpu_of(pids)
    full = [run_process(_settings(target, workload, seconds, 0.0)) for _ in range(REPEATS)]
    broken = next((each["broken"] for each in (paced, *full) if each["broken"]), "")
    if broken:
        raise Unreachable(f"{target.redacted_url}: {broken}")
    cpu = cpu_of(pids) - before if pids else None
    return dict(facts_of_load(paced, full, cpu))


def _settings(target: Target, workload: Workload, seconds: float, rate: float) -> Settings:
    """Return the load of a workload's main flow, with its guarantees."""
    flow = dominant(workload)
    granted = max((qos for qos in (1, 2) if f"qos-{qos}" in target.capabilities), default=0)
    return Settings(
        "throughput", target.url, users=2, workers=1, duration=seconds, rate=rate, prefetch=1000, work=0.0,
        payload=max(SMALLEST, round(flow.mean_payload)), qos=min(flow.qos, granted), confirm=flow.qos > 0,
        persistent=flow.persistent and target.protocol == "amqp", product=target.product, max_qos=granted,
        ca_file=str(target.tls.ca_file) if target.tls and target.tls.ca_file else None,
    )  # fmt: skip


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def _print(report: Report, out: Path, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(report.plain(), indent=1) + "\n")
        return
    console = Screen()
    for choice in report.choices:
        console.print(f"\n{choice.title}", style="bold")
        for sentence in choice.sentences:
            console.print(f"  {sentence.text}")
    for claim in report.claims:
        console.print(f'\n"{claim.quote}" {claim.finding}', style="bold")
        console.print(f"  {claim.evidence.text}")
    console.print(f"\nverdict: {out / 'verdict.html'}", soft_wrap=True)
