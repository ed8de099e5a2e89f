"""A sign of life on a terminal while something takes its time; nothing where nobody looks."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show ``what`` beside a turning wheel on standard error until the context is left."""
    if not sys.stderr.isatty():
        yield
        return
    from mqproof.harness.reporting.screen import Screen
    from rich.text import Text

    with Screen(stderr=True).status(Text(what)):
        yield
