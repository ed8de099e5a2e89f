"""A progress bar for captures that take a while, on standard error and only for people."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

LONG = 20 << 20  # octets; smaller captures are read before a bar would be


@contextlib.contextmanager
def reading(names: Sequence[str], says: str) -> Iterator[Callable[[int], None] | None]:
    """Yield what to call with the octets read of the file in hand; None where no bar is wanted."""
    sizes = [Path(name).stat().st_size if Path(name).is_file() else 0 for name in names]
    if sum(sizes) < LONG or not sys.stderr.isatty():
        yield None
        return
    from mqproof.harness.reporting.screen import Screen
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Screen(stderr=True), transient=True) as bar:
        task = bar.add_task(says, total=sum(sizes))
        done, before = 0, 0

        def progress(octets: int) -> None:
            nonlocal done, before
            done += before if octets < before else 0  # the next file has begun
            before = octets
            bar.update(task, completed=done + octets)

        yield progress
