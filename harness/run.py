"""The run directory: what every job writes and every report, comparison and gate reads.

``mqproof-runs/<UTC time>-<id>/run.json`` beside ``junit.xml``, ``allure-results/``, ``captures/``, ``histograms/`` and
``evidence/``. ``run.json`` is replaced atomically, and says of itself whether it is complete.
"""

import json
import os
import secrets
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from mqproof.harness.run_rows import complaint
from mqproof.harness.targets.target import Target
from mqproof.harness.verdicts import Verdict

SCHEMA = 1
FILE = "run.json"
FOLDER = "mqproof-runs"

# What lifts a run's data from a schema to the next; empty as long as there was only one.
Migration = Callable[[dict[str, Any]], dict[str, Any]]
MIGRATIONS: Final[dict[int, Migration]] = {}


class BadRun(ValueError):
    """A run directory that cannot be read; the message is one line with what is wrong and what to do."""


@dataclass(slots=True)
class Run:
    """The contents of run.json. Times are ISO 8601 in UTC; ``planned`` counts tests; see run.schema.json."""

    schema: int = SCHEMA
    tool: dict[str, str] = field(default_factory=lambda: {"name": "mqproof", "version": version("mqproof")})
    started: str = field(default_factory=lambda: now())
    finished: str | None = None
    complete: bool = False
    planned: int = 0
    targets: list[dict[str, Any]] = field(default_factory=list)
    tests: list[dict[str, Any]] = field(default_factory=list)
    statements: list[dict[str, Any]] = field(default_factory=list)
    analyses: list[dict[str, Any]] = field(default_factory=list)
    loads: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write run.json into ``folder``, all of it or nothing."""
        write_atomically(folder / FILE, json.dumps(asdict(self), indent=1) + "\n")

    def add_targets(self, targets: Iterable[Target]) -> None:
        """Add targets that the run does not list yet."""
        known = {target["name"] for target in self.targets}
        self.targets += [described(target) for target in targets if target.name not in known]

    def finish(self, complete: bool) -> None:
        """Note the end."""
        self.finished = now()
        self.complete = complete


def now() -> str:
    """Return the present time as run.json writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_folder(base: Path | None = None) -> Path:
    """Make and return ``<base>/mqproof-runs/<UTC time>-<id>``; the base is the working directory by default."""
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
    folder = (base or Path.cwd()) / FOLDER / name
    folder.mkdir(parents=True)
    return folder


def cache_folder() -> Path:
    """Return mqproof's folder in the user's cache, which may not exist yet."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mqproof"


def described(target: Target) -> dict[str, Any]:
    """Return what run.json says of a target; the password is masked."""
    return {
        "name": target.name,
        "url": target.redacted_url,
        "protocol": target.protocol,
        "product": target.product,
        "version": target.version,
        "capabilities": sorted(target.capabilities),
    }


def load(path: Path) -> Run:
    """Return the run in a directory (or the run.json that is named itself). Raises BadRun."""
    file = path / FILE if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadRun(f"{path} is no run: there is no {FILE}; make one with mqproof test --out DIR") from None
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no UTF-8, no JSON, an endless number
        raise BadRun(f"{file} cannot be read as a run: {str(error).partition(chr(10))[0]}") from None
    return from_data(data, file)


def from_data(data: Any, file: Path) -> Run:
    """Return the run that ``data`` describes; what a newer mqproof added is left out. Raises BadRun.

    The schema's number rises only when an older reader would go wrong: a higher one is refused, a lower one is lifted
    step by step by :data:`MIGRATIONS`.
    """
    if not isinstance(data, dict) or not isinstance(data.get("tool"), dict) or data["tool"].get("name") != "mqproof":
        raise BadRun(f"{file} was not written by mqproof")
    data = migrated(data, file)
    _check(data, file)
    return Run(**{name: data[name] for name in Run.__dataclass_fields__ if name in data})


def migrated(
    data: dict[str, Any], file: Path, steps: Mapping[int, Migration] = MIGRATIONS, schema: int = SCHEMA
) -> dict[str, Any]:
    """Return the data of an older run as this version writes it. Raises BadRun."""
    found = data.get("schema")
    if not isinstance(found, int) or isinstance(found, bool):
        raise BadRun(f"{file} says no schema version")
    if found > schema:
        what = f"a newer mqproof (schema {found}, this one reads {schema})"
        raise BadRun(f"{file} was written by {what}: upgrade mqproof")
    for number in range(found, schema):
        if number not in steps:
            raise BadRun(f"{file} has schema {found}, which no mqproof has written")
        data = {**steps[number](data), "schema": number + 1}
    return data


def _check(data: dict[str, Any], file: Path) -> None:
    """Refuse a run that lacks what every reader needs. Raises BadRun."""
    if wrong := complaint(data):
        raise BadRun(f"{file} is damaged: {wrong}")
    verdicts = {str(verdict) for verdict in Verdict}
    for row in data.get("statements", []):
        if row["verdict"] not in verdicts:
            raise BadRun(f"{file} is damaged: {row['spec']}:{row['id']} has no verdict that there is")


def write_atomically(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` so that a reader sees the old contents or the new, never a part.

    Into a device, a pipe or what a link leads to it is written as usual: a file must not take their place.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.write_text(text, encoding="utf-8")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
