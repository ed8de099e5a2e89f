"""Whether repeated runs of the suites on the same brokers say the same, statement by statement and test by test.

A folder of repeats holds the run directories and ``stability.json``, which says how each was run, how long it took
and which verdicts differed. A verdict that differs between repeats is a defect of the suite until shown otherwise.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from mqproof.harness.run import BadRun, Run, write_atomically

SCHEMA = 1
FILE = "stability.json"


@dataclass(frozen=True, slots=True)
class Way:
    """One way of running the suites: ``workers`` 0 means one for each core, ``shuffle`` is a seed or None."""

    name: str
    workers: int = 0
    shuffle: int | None = None
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Repeat:
    """One run: ``seconds`` from the first test planned to the last ended, without the start of a broker."""

    name: str
    started: str
    seconds: float
    tests: int
    complete: bool
    verdicts: dict[str, int]


@dataclass(frozen=True, slots=True)
class Difference:
    """A statement or a test of one target whose verdict was not always the same, with how often each was given."""

    target: str
    id: str
    verdicts: dict[str, int]


@dataclass(slots=True)
class Stability:
    """The contents of stability.json."""

    schema: int
    tool: dict[str, str]
    command: str
    cores: int
    started: str
    finished: str
    targets: list[dict[str, Any]]
    repeats: list[Repeat] = field(default_factory=list)
    statements: list[Difference] = field(default_factory=list)
    tests: list[Difference] = field(default_factory=list)

    @property
    def is_stable(self) -> bool:
        """Whether every repeat came to its end and gave the same verdicts."""
        return not self.statements and not self.tests and all(repeat.complete for repeat in self.repeats)

    def save(self, folder: Path) -> None:
        """Write stability.json into ``folder``."""
        write_atomically(folder / FILE, json.dumps(asdict(self), indent=1) + "\n")


def ways(runs: int, seed: int, workers: int) -> list[Way]:
    """Return ``runs`` plain ways, then one in random order, one with eight workers, and a quick one."""
    plain = [Way(f"run {number}", workers) for number in range(1, runs + 1)]
    shuffled = Way(f"random order, seed {seed}", workers, shuffle=seed)
    return [*plain, shuffled, Way("8 workers", 8), Way("--quick", workers, quick=True)]


def summed_up(found: Sequence[tuple[Way, Run]], command: str, cores: int) -> Stability:
    """Return what the runs have in common and where they differ.

    A quick run leaves tests out, so that its statements may rest on fewer of them: it is compared by test only.
    """
    runs = [run for _, run in found]
    whole = [run for way, run in found if not way.quick]
    targets = {target["name"]: target for run in runs for target in run.targets}
    return Stability(
        schema=SCHEMA,
        tool=runs[0].tool,
        command=command,
        cores=cores,
        started=runs[0].started,
        finished=runs[-1].finished or runs[-1].started,
        targets=list(targets.values()),
        repeats=[repeat_of(way.name, run) for way, run in found],
        statements=_differences(
            ((row["target"], f"{row['spec']}:{row['id']}", row["verdict"]) for run in whole for row in run.statements),
            len(whole),
        ),
        tests=_differences(
            ((row["target"], row.get("case") or row["id"], row["outcome"]) for run in runs for row in run.tests), 0
        ),
    )


def repeat_of(name: str, run: Run) -> Repeat:
    """Return a line on one run."""
    seconds = duration_s(run)
    verdicts = Counter(str(row["verdict"]) for row in run.statements)
    return Repeat(name, run.started, round(seconds, 1), len(run.tests), run.complete, dict(sorted(verdicts.items())))


def duration_s(run: Run) -> float:
    """Return how long a run took, in seconds; 0 for one that never ended."""
    if run.finished is None:
        return 0.0
    return (datetime.fromisoformat(run.finished) - datetime.fromisoformat(run.started)).total_seconds()


def load_stability(folder: Path) -> Stability | None:
    """Return what stability.json in ``folder`` says; None where there is none. Raises BadRun."""
    file = folder / FILE
    if not file.is_file():
        return None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        lists: dict[str, list[Any]] = {
            "repeats": [Repeat(**row) for row in data["repeats"]],
            "statements": [Difference(**row) for row in data["statements"]],
            "tests": [Difference(**row) for row in data["tests"]],
        }
        return Stability(**{**data, **lists})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadRun(f"{file} cannot be read: {str(error).partition(chr(10))[0]}") from None


def _differences(rows: Iterable[tuple[str, str, str]], runs: int) -> list[Difference]:
    """Return what got several verdicts; of ``runs`` runs, those without any count as ``missing`` (0: do not ask)."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for target, identifier, verdict in rows:
        counts.setdefault((target, identifier), Counter())[verdict] += 1
    for counter in counts.values():
        missing = runs - counter.total()
        if missing > 0:
            counter["missing"] = missing
    return [Difference(*key, dict(counter)) for key, counter in sorted(counts.items()) if len(counter) > 1]
