"""The compiled kernels do what the uncompiled ones do, octet for octet."""

import ast
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mqproof.dissectors.overhead import compiled, compiling, engine, machine_code
from mqproof.dissectors.overhead.account import as_json
from mqproof.dissectors.overhead.engine import WORTH_LOADING, Plain, analyze, choose
from mqproof.dissectors.packets.pcap import Packet, read_packets, write_packets

CAPTURES = sorted((Path(__file__).parents[3] / "captures").glob("*.pcapng"))
pytestmark = pytest.mark.skipif(not compiled.available(), reason="numba is not installed")


def both(path: Path) -> Iterator[object]:
    for kernels in (Plain(), compiled.Compiled()):
        summary = analyze(str(path), engine=kernels)
        yield as_json(summary, top=1000)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_golden_captures(path: Path) -> None:
    plain, fast = both(path)
    assert plain == fast


@pytest.mark.parametrize("seed", range(12))
def test_captures_that_were_torn_apart(tmp_path: Path, seed: int) -> None:
    """Lost, swapped, repeated, cut and overwritten packets: both walks must come to the same books."""
    chance = random.Random(seed)
    packets = list(read_packets(CAPTURES[seed % len(CAPTURES)]))
    torn: list[Packet] = []
    for packet in packets:
        data = bytearray(packet.data)
        luck = chance.random()
        if luck < 0.1:
            continue
        if luck < 0.2:
            data = data[: chance.randrange(len(data))]
        elif luck < 0.35:
            for _ in range(3):
                data[chance.randrange(len(data))] = chance.randrange(256)
        torn += [Packet(packet.time, bytes(data), packet.original, packet.linktype)] * chance.choice((1, 1, 1, 2))
    for _ in range(len(torn) // 4):
        i = chance.randrange(len(torn) - 1)
        torn[i], torn[i + 1] = torn[i + 1], torn[i]
    write_packets(tmp_path / "torn", torn, torn[0].linktype)
    plain, fast = both(tmp_path / "torn")
    assert plain == fast


def test_a_truncated_file(tmp_path: Path) -> None:
    """Where it stops is a plain number, so that it can be written as JSON."""
    path = tmp_path / "cut"
    path.write_bytes(CAPTURES[0].read_bytes()[:-10])
    plain, fast = both(path)
    assert json.dumps(plain) == json.dumps(fast)


def test_octets_that_are_no_packets(tmp_path: Path) -> None:
    chance = random.Random(1)
    packets = [Packet(i, chance.randbytes(chance.randrange(200)), 300, 1) for i in range(300)]
    write_packets(tmp_path / "noise", packets, 1)
    plain, fast = both(tmp_path / "noise")
    assert plain == fast


@pytest.mark.parametrize(
    ("octets", "name"), [(0, "python"), (WORTH_LOADING - 1, "python"), (WORTH_LOADING, "compiled"), (None, "python")]
)
def test_a_small_capture_does_not_wait_for_machine_code(tmp_path: Path, octets: int | None, name: str) -> None:
    compiled.load()
    if octets is not None:
        with (tmp_path / "capture").open("wb") as file:
            file.truncate(octets)
    assert choose(str(tmp_path / "capture")).name == name


@pytest.mark.parametrize("name", ["-", "/dev/null"])
def test_what_has_no_size_is_walked_by_machine_code(name: str) -> None:
    compiled.load()
    assert choose(name).name == "compiled"


def test_a_live_capture_is_walked_by_machine_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(engine, "choose", lambda name: asked.append(name) or Plain())
    with CAPTURES[0].open("rb") as file:
        analyze("lo", file=file)
    assert asked == ["-"]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[object]:
    """Return the compilers that were started in the background, none of which runs; the cache is empty."""
    made: list[object] = []
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiled.subprocess, "Popen", lambda command, **_: made.append(command))
    return made


def test_one_compiler_at_a_time_and_a_killed_one_is_followed_by_another(started: list[object]) -> None:
    compiled.prepare_in_background()
    compiled.prepare_in_background()
    assert len(started) == 1
    assert not compiled.is_ready()
    long_ago = time.time() - compiled.RETRY_SECONDS - 1
    os.utime(compiled.cache_folder() / "begun", (long_ago, long_ago))
    compiled.prepare_in_background()
    assert len(started) == 2


def test_a_home_that_cannot_be_written_is_no_obstacle(
    started: list[object], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    compiled.prepare_in_background()
    assert not compiled.is_ready()
    assert not started
    machine_code.keep(compiled.cache_folder(), machine_code.MachineCode("run", b"code"))
    assert machine_code.kept(compiled.cache_folder()) is None


def test_machine_code_of_other_sources_is_never_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = compiled.cache_folder()
    changed = tmp_path / "tcp.py"
    sources = compiled.source_files()
    original = next(path for path in sources if path.name == "tcp.py")
    changed.write_text(original.read_text() + "\n# changed\n")
    monkeypatch.setattr(compiled, "source_files", lambda: [changed if path == original else path for path in sources])
    assert compiled.cache_folder() != before


def test_all_that_the_machine_code_is_made_of_is_in_its_name() -> None:
    """A kernel that a change reaches through a module that nobody looks at would be older than its source."""
    kernels = [Path(str(module.__file__)) for module in compiling.KERNELS]
    imported = {
        f"{node.module}.{alias.name}"
        for path in kernels
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mqproof.")
        for alias in node.names
    }
    modules = {name if name in sys.modules else name.rpartition(".")[0] for name in imported}
    needed = {Path(str(sys.modules[name].__file__)) for name in modules} | set(kernels)
    assert needed <= set(compiled.source_files())


def test_a_warm_start_imports_neither_numba_nor_numpy(tmp_path: Path) -> None:
    compiled.load()
    path = tmp_path / "capture"
    packets = list(read_packets(CAPTURES[0]))
    write_packets(path, packets * (1 + 2 * WORTH_LOADING // CAPTURES[0].stat().st_size), packets[0].linktype)
    program = (
        "import sys\nfrom mqproof.dissectors.overhead.engine import analyze, choose\n"
        "engine = choose(sys.argv[1])\nanalyze(sys.argv[1], engine=engine)\n"
        "print(engine.name, *({'numba', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["compiled"]
