"""Removes what runs that crashed have left on a broker: a process of its own, because the engine's sockets need gevent.

Reads settings from standard input, and writes how much was removed to standard output.
"""

from gevent import monkey

monkey.patch_all()

import json  # noqa: E402
import sys  # noqa: E402

from mqproof.harness.targets.target import Target  # noqa: E402
from mqproof.loadtests.engine.plumbing import remove  # noqa: E402
from mqproof.loadtests.engine.wire import Broken, Forbidden  # noqa: E402
from mqproof.loadtests.journal import left_behind  # noqa: E402
from mqproof.loadtests.settings import Settings  # noqa: E402


def clean(target: Target) -> int:
    """Remove everything that dead runs noted for this target; return how many things.

    Raises Forbidden, when the rest is removed, where this user may not; and Broken.
    """
    removed = 0
    forbidden: Forbidden | None = None
    for file, things in left_behind(target):
        try:
            removed += remove(target, things)
        except Forbidden as error:
            forbidden = error
        else:
            file.unlink(missing_ok=True)
    if forbidden is not None:
        raise forbidden
    return removed


def main() -> None:
    """Clean the target that standard input names. Exit code 0, or 4 with one line on standard error."""
    try:
        removed = clean(Settings.from_plain(json.loads(sys.stdin.readline())).target)
    except Broken as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(4)
    sys.stdout.write(json.dumps({"removed": removed}))


if __name__ == "__main__":
    main()
