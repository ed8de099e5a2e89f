"""Runs as they lie beside each other, and as one file that can be shared."""

import tarfile
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

    Nothing is written outside of ``into``, nothing is overwritten, links are refused, and so is what is too large,
    before anything of it is written.
    """
    try:
        with tarfile.open(archive, "r:gz", tarinfo=Member) as tar:
            members = _members(tar, archive)
            names = {member.name.partition("/")[0] for member in members}
            if len(names) != 1 or not all(member.isfile() for member in members):
                raise BadRun(f"{archive} is no packed run")
            folder = into / names.pop()
            if folder.exists():
                raise BadRun(f"{folder} exists already")
            tar.extractall(into, members=members, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BadRun(f"{archive} cannot be unpacked: {error}") from None
    load(folder)
    return folder


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
