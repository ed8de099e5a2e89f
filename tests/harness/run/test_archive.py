"""A run as one file: comes back as it was, writes nowhere else, and is refused when it is not ours."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
from mqproof.harness.archive import pack, runs_in, unpack
from mqproof.harness.cli.main import app
from mqproof.harness.run import BadRun, Run, load
from typer.testing import CliRunner


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "mqproof-runs" / "one"
    Run(complete=True, planned=1).save(folder)
    (folder / "captures").mkdir()
    (folder / "captures" / "a.pcapng").write_bytes(b"\x0a\x0d\x0d\x0a")
    return folder


def test_what_is_packed_comes_back(run, tmp_path):
    pack(run, tmp_path / "one.tar.gz")
    there = unpack(tmp_path / "one.tar.gz", tmp_path / "elsewhere")
    assert there == tmp_path / "elsewhere" / "one"
    assert load(there) == load(run)
    assert (there / "captures" / "a.pcapng").read_bytes() == b"\x0a\x0d\x0d\x0a"


def test_a_packed_run_says_nothing_of_who_packed_it(run, tmp_path):
    pack(run, tmp_path / "one.tar.gz")
    with tarfile.open(tmp_path / "one.tar.gz") as tar:
        assert {(member.uid, member.uname) for member in tar} == {(0, "")}


def test_nothing_is_overwritten(run, tmp_path):
    pack(run, tmp_path / "one.tar.gz")
    with pytest.raises(BadRun, match="exists already"):
        unpack(tmp_path / "one.tar.gz", run.parent)


def archive(path, *members: tarfile.TarInfo):
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = "/etc/passwd" if kind == tarfile.SYMTYPE else ""
    return info


@pytest.mark.parametrize(
    "members",
    [
        [member("../outside")],
        [member("/absolute/run.json")],
        [member("run/a"), member("run/link", tarfile.SYMTYPE)],
        [member("a/run.json"), member("b/run.json")],
        [member("run/../../outside")],
        [member("run/run.json"), member("run/hard", tarfile.LNKTYPE)],
        [member("run/run.json"), member("run/device", tarfile.CHRTYPE)],
        [member("run/run.json"), member("run/pipe", tarfile.FIFOTYPE)],
        [member("run/other.txt")],
        [member("run/run.json"), member("run/../outside")],
        [member("run/run.json"), member("run/./../outside")],
        [member("./run.json")],
        [member("run.json")],
        [],
    ],
)
def test_what_is_no_packed_run_is_refused_and_leaves_nothing(tmp_path, members):
    target = tmp_path / "into" / "deep"
    target.mkdir(parents=True)
    with pytest.raises(BadRun):
        unpack(archive(tmp_path / "bad.tar.gz", *members), target)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["bad.tar.gz", "deep", "into"]


def test_another_run_beside_it_stays_as_it_is(run, tmp_path):
    """``new/../one/run.json`` lies within the folder of the runs, and is another run."""
    before = (run / "run.json").read_bytes()
    there = [member("new/run.json"), member("new/../one/run.json")]
    with pytest.raises(BadRun, match="no packed run"):
        unpack(archive(tmp_path / "bad.tar.gz", *there), run.parent)
    assert (run / "run.json").read_bytes() == before


def test_what_replaces_nothing_is_not_unpacked_through_a_link(run, tmp_path):
    pack(run, tmp_path / "one.tar.gz")
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "one").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BadRun, match="exists already"):
        unpack(tmp_path / "one.tar.gz", tmp_path / "there")


def refusal(file: Path, into: Path) -> str:
    """Return why a file is not unpacked; empty where it is: what was flipped may be a time, or a letter of a name."""
    try:
        unpack(file, into)
    except BadRun as error:
        return str(error)
    return ""


def test_a_damaged_archive_is_one_line_wherever_it_is_damaged(run, tmp_path):
    pack(run, tmp_path / "one.tar.gz")
    whole, refusals = (tmp_path / "one.tar.gz").read_bytes(), []
    for place in range(0, len(whole), 7):
        (tmp_path / "bad.tar.gz").write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        into = tmp_path / f"into-{place}"
        refusals.append(refusal(tmp_path / "bad.tar.gz", into))
        assert not refusals[-1] or not into.exists() or not list(into.iterdir())
    assert len(list(filter(None, refusals))) > len(refusals) / 2
    assert not [text for text in refusals if "\n" in text]


def hostile(path: Path, *headers: bytes) -> Path:
    with gzip.open(path, "wb") as file:
        for header in headers:
            file.write(header)
    return path


def test_what_is_too_large_is_refused_before_anything_of_it_is_written(tmp_path):
    huge = member("run/huge")
    huge.size = 8 * 1024**3
    with pytest.raises(BadRun, match="larger than any run"):
        unpack(hostile(tmp_path / "huge.tar.gz", huge.tobuf()), tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_many_small_members_are_too_many(tmp_path, monkeypatch):
    monkeypatch.setattr("mqproof.harness.archive.MOST_FILES", 3)
    members = [member(f"run/{number}") for number in range(4)]
    with pytest.raises(BadRun, match="larger than any run"):
        unpack(archive(tmp_path / "many.tar.gz", *members), tmp_path / "into")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_would_fill_the_memory_is_not_read(tmp_path, kind):
    header = member("x", kind)
    header.size = 4 * 1024**3
    with pytest.raises(BadRun, match="too long"):
        unpack(hostile(tmp_path / "header.tar.gz", header.tobuf()), tmp_path / "into")


def test_a_file_that_is_no_archive_is_one_line(tmp_path):
    (tmp_path / "x").write_text("no archive")
    with pytest.raises(BadRun, match="cannot be unpacked"):
        unpack(tmp_path / "x", tmp_path)


def test_what_cannot_be_read_is_listed_with_its_error(run):
    (run.parent / "two").mkdir()
    (run.parent / "two" / "run.json").write_text("{")
    found = dict(runs_in(run.parent))
    assert isinstance(found[run], Run)
    assert isinstance(found[run.parent / "two"], BadRun)


def test_the_command_lists_packs_and_unpacks(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = json.loads(CliRunner().invoke(app, ["runs", "list", "--json"]).stdout)
    assert [row["run"] for row in rows] == ["mqproof-runs/one"]
    packed = CliRunner().invoke(app, ["runs", "pack", "mqproof-runs/one"])
    assert packed.stdout.strip() == str(run) + ".mqproof.tar.gz"
    unpacked = CliRunner().invoke(app, ["runs", "unpack", packed.stdout.strip(), "--into", "there"])
    assert unpacked.stdout.strip() == "there/one"
    assert CliRunner().invoke(app, ["runs", "pack", "nothing"]).exit_code == 2
