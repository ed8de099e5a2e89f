"""What ``mqproof test`` does: open the targets, run the suites in pytest of our own configuration, sum up."""

import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mqproof.harness.bug_report import LOGS
from mqproof.harness.cli.captures import analyses_of, print_recording
from mqproof.harness.cli.exits import INTERNAL, INTERRUPTED, UNREACHABLE, USAGE, exit_code
from mqproof.harness.cli.failing import fail
from mqproof.harness.cli.pytest_run import BadUsage, Suites, run_suites
from mqproof.harness.evidence import scrub, secrets_of
from mqproof.harness.patience import patience
from mqproof.harness.plugin.brokers import with_unique_names
from mqproof.harness.plugin.state import new_prefix
from mqproof.harness.probing.mqtt_rights import must_carry
from mqproof.harness.recording import Recording, record
from mqproof.harness.reporting.progress import LiveProgress
from mqproof.harness.reporting.screen import Screen
from mqproof.harness.reporting.terminal import print_summary
from mqproof.harness.run import BadRun, Run, load, new_folder, write_atomically
from mqproof.harness.statements.registry import UnknownStatement, find, statements
from mqproof.harness.targets.drivers import DRIVERS
from mqproof.harness.targets.errors import TargetError
from mqproof.harness.targets.opening import open_all, plan, read_password
from mqproof.harness.targets.profile import is_serial
from mqproof.harness.targets.target import BadTarget, Target, Tls, redact
from rich.console import Console
from rich.text import Text

QUICK_LEVELS = ("MUST", "MUST NOT")  # what --quick leaves, unless --level says otherwise


@dataclass(slots=True)
class Wishes:
    """What the user asked for, as the options say it."""

    targets: list[str]
    suites: list[str]
    statements: list[str]
    levels: list[str]
    sections: list[str]
    keyword: str
    quick: bool
    shuffle: int | None
    examples: int | None
    seed: int
    record: bool
    evidence: str
    json_out: str
    out: Path | None
    workers: int
    patience: float
    prefix: str
    ca_file: Path | None
    insecure: bool
    password_file: Path | None
    destructive: bool
    fail_on: str


def judge_brokers(wishes: Wishes) -> int:
    """Run the suites and return the exit code; every error is one line on stderr."""
    # The stream is named, because stdout is pytest's while the suites run.
    console = Screen(file=sys.stderr if wishes.json_out == "-" else sys.stdout)
    try:
        with _interruptible():
            return _judge(wishes, console)
    except (BadUsage, BadTarget, BadRun, UnknownStatement) as error:
        return fail(USAGE, error)
    except TargetError as error:
        return fail(UNREACHABLE, error)
    except KeyboardInterrupt:
        return fail(INTERRUPTED, "interrupted before the first test")
    except OSError as error:
        return fail(INTERNAL, error)


def _judge(wishes: Wishes, console: Console) -> int:
    suites = check(wishes)
    patience.factor = wishes.patience
    words = wanted_words(wishes.targets, wishes.suites)
    folder = _run_folder(wishes.out)
    live = LiveProgress(console)
    recording: Recording | None = None
    with ExitStack() as resources:
        opening = Text(f"opening {', '.join(map(redact, wishes.targets))}")
        with console.status(opening) if console.is_terminal else ExitStack():
            targets = _open(wishes, words, resources, folder / LOGS)
        if wishes.record:
            recording = resources.enter_context(record(targets, folder / "captures"))
        resources.callback(live.stop)
        used = [target.with_(is_recorded=True) for target in recording] if recording else targets
        folders = suites.select({target.protocol for target in targets})
        run_suites(folders, used, folder, _options(wishes, targets), live)
    scrub(folder, secrets_of(targets))
    return _conclude(wishes, folder, live, console, recording)


def _open(wishes: Wishes, words: Sequence[str], resources: ExitStack, logs: Path) -> list[Target]:
    tls = Tls(wishes.ca_file, wishes.insecure) if wishes.ca_file or wishes.insecure else None
    password = read_password(wishes.password_file)
    targets = open_all(words, resources, tls=tls, password=password, logs=logs)
    return with_unique_names(must_carry(target, new_prefix()) for target in targets)


def check(wishes: Wishes) -> Suites:
    """Return the suites to run. Raises BadUsage, BadTarget and UnknownStatement for what cannot be wished."""
    if wishes.patience <= 0:
        raise BadUsage("--patience must be greater than 0")
    if wishes.fail_on not in ("must", "should"):
        raise BadUsage(f"--fail-on {wishes.fail_on}: say must or should")
    if wishes.evidence not in ("failed", "all"):
        raise BadUsage(f"--evidence {wishes.evidence}: say failed or all")
    levels = {statement.level.upper() for statement in statements()}
    for level in wishes.levels:
        if level.upper() not in levels:
            raise BadUsage(f"--level {level}: no statement has it; there are {', '.join(sorted(levels))}")
    ids = {statement.id for statement in statements()}
    for identifier in wishes.statements:
        if identifier not in ids:
            find(identifier)
    for word in wishes.targets:
        planned = plan(word)
        if wishes.record and isinstance(planned, Target) and planned.path is not None:
            raise BadUsage(f"--record reads no WebSocket: name the mqtt:// URL instead of {redact(word)}")
    return Suites(wishes.suites)


def wanted_words(words: Sequence[str], suites: Sequence[str]) -> list[str]:
    """Return the targets' words, with local brokers narrowed to the protocols that the suites need.

    Raises BadUsage when nothing is left.
    """
    protocols = [suite for suite in suites if suite in ("amqp", "mqtt")]
    if not protocols or "recovery" in suites:
        return list(words)
    narrowed = []
    for word in words:
        if word not in DRIVERS:
            narrowed.append(word)
        else:
            spoken = [protocol for protocol in DRIVERS[word].protocols if protocol in protocols]
            narrowed += [f"{word}-{protocol}" for protocol in spoken] if len(DRIVERS[word].protocols) > 1 else (
                [word] if spoken else []
            )
    if not narrowed:
        raise BadUsage(f"{', '.join(words)} cannot speak what --suite {' --suite '.join(suites)} needs")
    return narrowed


def _run_folder(out: Path | None) -> Path:
    if out is None:
        return new_folder()
    if (out / "run.json").exists():
        raise BadUsage(f"--out {out} holds a run already: name another folder")
    out.mkdir(parents=True, exist_ok=True)
    return out.resolve()


def _options(wishes: Wishes, targets: Sequence[Target]) -> list[str]:
    options = [f"--mqproof-patience={wishes.patience}", f"--mqproof-fail-on={wishes.fail_on}"]
    options += [f"--mqproof-evidence={wishes.evidence}"]
    options += [f"--mqproof-statement={identifier}" for identifier in wishes.statements]
    levels = wishes.levels or (QUICK_LEVELS if wishes.quick else ())
    options += [f"--mqproof-level={level}" for level in levels]
    options += [f"--mqproof-section={text}" for text in wishes.sections]
    options += [f"--mqproof-prefix={wishes.prefix}"] if wishes.prefix else []
    options += ["--mqproof-destructive"] if wishes.destructive else []
    options += [f"--mqproof-examples={wishes.examples}"] if wishes.examples else []
    options += [f"--mqproof-seed={wishes.seed}"]
    options += [f"--mqproof-shuffle={wishes.shuffle}"] if wishes.shuffle is not None else []
    options += ["-m", "not slow"] if wishes.quick else []
    options += ["-k", wishes.keyword] if wishes.keyword else []
    workers = wishes.workers or (1 if any(map(is_serial, targets)) else "logical")
    return [*options, f"--numprocesses={workers}"]


def _conclude(
    wishes: Wishes, folder: Path, live: LiveProgress, console: Console, recording: Recording | None
) -> int:
    run = load(folder)
    run.errors += live.errors
    if live.errors:
        run.finish(complete=False)
    if recording is not None:
        run.analyses += analyses_of(recording, folder)
    run.save(folder)
    _write_copy(wishes.json_out, run)
    print_summary(run, console)
    if recording is not None:
        print_recording(recording, folder, console)
    for error in run.errors[:10]:
        console.print(f"error: {error}", style="bold red", soft_wrap=True)
    console.print(f"\n{len(run.tests)} of {run.planned} tests ended; run directory: {_near(folder)}", soft_wrap=True)
    if wishes.examples:
        console.print(f"{wishes.examples} random examples, seed {wishes.seed}")
    if live.interrupted:
        return fail(INTERRUPTED, "interrupted: the run is not complete")
    code = INTERNAL if live.errors else exit_code(run, fail_on_should=wishes.fail_on == "should")
    if run.planned == 0 and not run.errors:
        return fail(code, "no test fits: look at --suite, --statement, --level, --section and -k")
    return code


def _write_copy(path: str, run: Run) -> None:
    text = json.dumps(asdict(run), indent=1) + "\n"
    if path == "-":
        sys.stdout.write(text)
    elif path:
        write_atomically(Path(path), text)


def _near(folder: Path) -> str:
    try:
        return str(folder.relative_to(Path.cwd()))
    except ValueError:
        return str(folder)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end a run as Ctrl-C does: with what there is written down."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
