"""Machine code from the cache is run: what is damaged, foreign, or somebody else's to write is as good as not there."""

import os
import stat
from pathlib import Path

import pytest
from mqproof.dissectors.overhead import compiled, compiling, machine_code
from mqproof.dissectors.overhead.machine_code import NAME, MachineCode, keep, kept

CODE = MachineCode("run", bytes(range(256)) + b"\n" * 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mqproof" / "kernels-1"
    keep(folder, CODE)
    return folder


def test_what_is_kept_is_what_comes_back(folder: Path) -> None:
    assert kept(folder) == CODE
    assert [path.name for path in folder.iterdir()] == [NAME]


def test_nobody_else_may_read_or_write_it(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / NAME).stat().st_mode) == 0o600


def test_a_later_one_takes_its_place(folder: Path) -> None:
    other = MachineCode("walk", b"other")
    keep(folder, other)
    assert kept(folder) == other


@pytest.mark.parametrize("at", [0, 31, 32, 36, -1])
def test_a_damaged_octet_is_noticed(folder: Path, at: int) -> None:
    octets = bytearray((folder / NAME).read_bytes())
    octets[at] ^= 1
    (folder / NAME).write_bytes(octets)
    assert kept(folder) is None


@pytest.mark.parametrize("size", [0, 1, 32, 40])
def test_a_file_that_is_cut_off_is_noticed(folder: Path, size: int) -> None:
    with (folder / NAME).open("r+b") as file:
        file.truncate(size)
    assert kept(folder) is None


def test_what_was_made_for_something_else_is_noticed(folder: Path) -> None:
    other = folder.with_name("kernels-2")
    folder.rename(other)
    assert kept(other) is None


@pytest.mark.parametrize("bit", [stat.S_IWGRP, stat.S_IWOTH])
@pytest.mark.parametrize("name", [".", NAME])
def test_what_others_may_write_is_not_run(folder: Path, name: str, bit: int) -> None:
    path = folder / name
    path.chmod(path.stat().st_mode | bit)
    assert kept(folder) is None


def test_what_somebody_else_owns_is_not_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owner = folder.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert (kept(folder) is None) == (owner != 0)  # root could run it anyway
    if owner == 0:
        os.chown(folder / NAME, 65534, 65534)
        assert kept(folder) is None


@pytest.mark.parametrize("name", [".", NAME])
def test_a_link_is_not_followed(folder: Path, tmp_path: Path, name: str) -> None:
    path = folder / name
    aside = tmp_path / "aside"
    path.rename(aside)
    path.symlink_to(aside, target_is_directory=aside.is_dir())
    assert kept(folder) is None


def test_something_else_of_that_name_is_not_read(folder: Path) -> None:
    (folder / NAME).unlink()
    (folder / NAME).mkdir()
    assert kept(folder) is None
    (folder / NAME).rmdir()
    os.mkfifo(folder / NAME)
    assert kept(folder) is None


def test_a_disk_that_is_full_leaves_what_was_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(machine_code.os, "replace", full)
    keep(folder, MachineCode("run", b"other"))
    assert kept(folder) == CODE
    assert [path.name for path in folder.iterdir()] == [NAME]


@pytest.mark.skipif(not compiled.available(), reason="numba is not installed")
def test_damaged_machine_code_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is the compiler waited for here nor is what it makes run: a stand-in counts how often it is asked."""
    made: list[MachineCode] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiling, "compiled", lambda arrays: made.append(CODE) or CODE)
    monkeypatch.setattr(machine_code, "Loaded", lambda code: code)
    keep(compiled.cache_folder(), CODE)
    path = compiled.cache_folder() / NAME
    path.write_bytes(path.read_bytes()[:-1])
    for _ in range(2):
        monkeypatch.setattr(compiled, "_loaded", None)
        assert compiled.is_ready() == bool(made)
        assert compiled.load() == CODE
    assert made == [CODE]
