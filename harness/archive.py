"""Runs as they lie beside each other, and as one file that can be shared."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from mqproof.harness.run import FILE, BadRun, Run, load

SUFFIX = ".mqproof.tar.gz"
MOST_BYTES = 4 * 1024**3  # unpacked; a run of that size is none of ours


def runs_in(folder: Path) -> Iterator[tuple[Path, Run | BadRun]]:
    """Yield the run directories below ``folder``, oldest first; what cannot be read comes as its error."""
    for file in sorted(folder.glob(f"*/{FILE}")):
        try:
            yield file.parent, load(file.parent)
        except BadRun as error:
            yield file.parent, error


def pack(folder: Path, archive: Path) -> None:
    """Write a run directory into one file. Raises BadRun when it is none."""
    load(folder)
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and path != archive:
                tar.add(path, arcname=f"{folder.resolve().name}/{path.relative_to(folder)}", filter=_nobody)


def unpack(archive: Path, into: Path) -> Path:
    """Unpack what :func:`pack` wrote below ``into`` and return the run directory. Raises BadRun.

    Nothing is written outside of ``into``, nothing is overwritten, and links are refused.
    """
    try:
        with tarfile.open(archive, "r:gz") as tar:
            members = tar.getmembers()
            names = {member.name.partition("/")[0] for member in members}
            if len(names) != 1 or not all(member.isfile() for member in members):
                raise BadRun(f"{archive} is no packed run")
            if sum(member.size for member in members) > MOST_BYTES:
                raise BadRun(f"{archive} is larger than any run: refused")
            folder = into / names.pop()
            if folder.exists():
                raise BadRun(f"{folder} exists already")
            tar.extractall(into, members=members, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BadRun(f"{archive} cannot be unpacked: {error}") from None
    load(folder)
    return folder


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
