"""Runs as they lie beside each other, and as one file that can be shared."""

import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from mqproof.harness.run import FILE, BadRun, Run, load

SUFFIX = ".mqproof.tar.gz"
MOST_BYTES = 4 * 1024**3  # unpacked; a run of that size is none of ours
MOST_FILES = 500_000
LONGEST_HEADER = 1 << 16  # octets of one that describes the next member: tarfile takes it into memory
HEADERS = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip


class Member(tarfile.TarInfo):
    """A member of an archive that may be hostile."""

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in HEADERS and self.size > LONGEST_HEADER:
            raise tarfile.ReadError("a header is too long")
        return super()._proc_member(archive)  # type: ignore[misc,no-any-return]


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

    Nothing is written outside of that directory, nothing is overwritten, links are refused, and so is what is too
    large, before anything of it is written; of what turns out to be no run, nothing stays.
    """
    try:
        with tarfile.open(archive, "r:gz", tarinfo=Member) as tar:
            members = _members(tar, archive)
            folder = into / _name(members, archive)
            if os.path.lexists(folder):
                raise BadRun(f"{folder} exists already")
            into.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=into, prefix=".unpacking-") as work:
                tar.extractall(work, members=members, filter="data")
                load(Path(work) / folder.name)
                os.rename(Path(work) / folder.name, folder)
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error) as error:
        raise error if isinstance(error, BadRun) else BadRun(f"{archive} cannot be unpacked: {error}") from None
    return folder


def _name(members: list[tarfile.TarInfo], archive: Path) -> str:
    """Return the name of the run directory in which all members lie. Raises BadRun."""
    places = [member.name.split("/") for member in members]
    names = {place[0] for place in places}
    is_whole = len(names) == 1 and all(member.isfile() for member in members)
    if not is_whole or any(len(place) < 2 or not {"", ".", ".."}.isdisjoint(place) for place in places):
        raise BadRun(f"{archive} is no packed run")
    return names.pop()


def _members(tar: tarfile.TarFile, archive: Path) -> list[tarfile.TarInfo]:
    """Read what an archive holds, up to where it is too much. Raises BadRun."""
    found: list[tarfile.TarInfo] = []
    left = MOST_BYTES
    for member in tar:
        found.append(member)
        left -= member.size
        if left < 0 or len(found) > MOST_FILES:
            raise BadRun(f"{archive} is larger than any run: refused")
    return found


def _nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
