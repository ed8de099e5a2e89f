"""No secret reaches a file, however it was escaped on the way."""

import html
import json
from urllib.parse import quote

import pytest
from mqproof.harness.evidence import (
    LONGEST_OCTETS,
    LONGEST_TEXT,
    MOST_LINES,
    as_text,
    conversation_of,
    masked,
    masked_bytes,
    masked_data,
    save_transcripts,
    scrub,
    secrets_of,
    wire_data,
)
from mqproof.harness.run import BadRun
from mqproof.harness.targets.target import parse_url
from mqproof.harness.wires.base import Transcript

SECRETS = ["hunter2", "pa ss", 'quo"te\\', "ü€", "a'b", "x"]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "escape",
    [
        str, quote, json.dumps, repr, html.escape, lambda text: repr(text.encode()),
        lambda text: json.dumps(repr(text)), lambda text: html.escape(repr(text)),
    ],
)  # fmt: skip
def test_a_secret_is_masked_in_every_escaping(secret, escape):
    text = f"login as {escape(secret)} now"
    assert escape(secret).strip("'\"b") not in masked(text, [secret]).replace("login as", "").replace("now", "")


def test_a_short_secret_does_not_destroy_the_text():
    assert masked("an apple a day", ["a"]) == "an apple *** day"


def test_octets_keep_their_length():
    assert masked_bytes(b"\0me\0hunter2", ["hunter2"]) == b"\0me\0*******"


def test_data_is_masked_in_depth():
    data = {"a": ["hunter2", {"b": "my hunter2"}], "n": 1}
    assert masked_data(data, ("hunter2",)) == {"a": ["***", {"b": "my ***"}], "n": 1}


def test_the_public_default_password_is_no_secret():
    targets = [parse_url("amqp://host"), parse_url("amqp://me:hunter2@host"), parse_url("mqtt://host")]
    assert secrets_of(targets) == ("hunter2",)


def test_a_saved_conversation_holds_no_secret(tmp_path):
    transcript = Transcript("wire 1")
    transcript.add(">", b"\0me\0hunter2", "connection.start-ok response=b'\\x00me\\x00hunter2'")
    name = save_transcripts(tmp_path, "test", [transcript], ("hunter2",))
    text = (tmp_path / name).read_text()
    line = json.loads(text)["wires"][0]["lines"][0]
    assert "hunter2" not in text
    assert b"hunter2".hex() not in text
    assert bytes.fromhex(line["hex"]) == b"\0me\0*******"


def test_scrubbing_reaches_what_others_wrote(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "junit.xml").write_text("<a>hunter2</a>")
    scrub(tmp_path, ("hunter2",))
    assert (tmp_path / "deep" / "junit.xml").read_text() == "<a>***</a>"


def test_a_very_long_conversation_is_cut_in_the_middle_and_its_lines_at_the_end():
    transcript = Transcript("wire")
    for number in range(3000):
        transcript.add(">", b"o" * 5000, f"line {number} " + "t" * 5000)
    data = wire_data(transcript, ())
    texts = [line["text"] for line in data["lines"]]
    assert len(texts) == MOST_LINES + 1
    assert texts[0].startswith("line 0 ")
    assert texts[-1].startswith("line 2999 ")
    assert "2000 lines are left out" in texts
    assert all(len(text) < LONGEST_TEXT + 50 for text in texts)
    assert texts[0].endswith("(5000 octets)")
    assert len(bytes.fromhex(data["lines"][0]["hex"])) == LONGEST_OCTETS
    assert len(as_text([data])) < 2_000_000


def test_a_saved_conversation_is_read_again(tmp_path):
    transcript = Transcript("wire 1")
    transcript.add(">", b"octets", "text")
    name = save_transcripts(tmp_path, "test", [transcript], ())
    assert conversation_of(tmp_path, {"transcript": name}) == [wire_data(transcript, ())]


@pytest.mark.parametrize("name", ["evidence/../secret.json", "../secret.json", "secret.json", "evidence/link.json", ""])
def test_only_a_file_in_a_runs_own_evidence_is_opened(tmp_path, name):
    """A run that somebody sent must not pull another file of this machine into a page."""
    run = tmp_path / "run"
    (run / "evidence").mkdir(parents=True)
    for path in (tmp_path / "secret.json", run / "secret.json"):
        path.write_text('{"wires": []}')
    (run / "evidence" / "link.json").symlink_to(tmp_path / "secret.json")
    assert conversation_of(run, {"transcript": name}) is None
    assert conversation_of(run, {"transcript": str(tmp_path / "secret.json")}) is None


LINE = {"ms": 1, "direction": ">", "text": "x", "hex": "00"}


@pytest.mark.parametrize(
    "text",
    [
        "no JSON", "[]", "{}", '{"wires": 1}', '{"wires": [1]}', "[" * 100_000,
        *(json.dumps({"wires": [{"title": "w", "started": 0, "lines": [LINE | wrong]}]})
          for wrong in ({"ms": "1"}, {"direction": '"'}, {"text": 1}, {"hex": "zz"})),
    ],
    ids=["text", "list", "empty", "number", "numbers", "deep", "ms", "direction", "text of a line", "hex"],
)  # fmt: skip
def test_a_damaged_conversation_is_a_bad_run(tmp_path, text):
    (tmp_path / "evidence").mkdir()
    (tmp_path / "evidence" / "a.json").write_text(text)
    with pytest.raises(BadRun, match="holds no conversation"):
        conversation_of(tmp_path, {"transcript": "evidence/a.json"})
