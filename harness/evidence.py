"""Evidence that outlives a run: conversations as files, with every secret masked before it reaches a disk."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mqproof.harness.run import BadRun
from mqproof.harness.targets.target import Target
from mqproof.harness.wires.base import Line, Transcript

FOLDER = "evidence"
MASK = "***"
MOST_LINES = 1000  # of one conversation
LONGEST_TEXT = 1500  # characters of one line
LONGEST_OCTETS = 1024  # of one line, shown in hexadecimal
SHORT = 4  # characters: a shorter secret is masked as a whole word only, or it would mask half of every text
TEXT_FILES = (".json", ".jsonl", ".xml", ".txt", ".log", ".html", ".md", ".csv", ".properties")


def secrets_of(targets: Iterable[Target]) -> tuple[str, ...]:
    """Return the passwords to hide, longest first; the public default ``guest`` is none."""
    passwords = {target.password for target in targets if target.password and target.password != "guest"}
    return tuple(sorted(passwords, key=len, reverse=True))


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` without the secrets, also where they are escaped: as in a URL, Python's repr, JSON or HTML."""
    for secret in secrets:
        text = _pattern(secret).sub(MASK, text)
    return text


def masked_bytes(octets: bytes, secrets: Iterable[str]) -> bytes:
    """Return ``octets`` with each secret overwritten by as many asterisks."""
    for secret in secrets:
        plain = secret.encode()
        octets = octets.replace(plain, b"*" * len(plain))
    return octets


def masked_data(value: Any, secrets: tuple[str, ...]) -> Any:
    """Return plain data (as for JSON) with the secrets masked in every text of it."""
    if isinstance(value, str):
        return masked(value, secrets)
    if isinstance(value, dict):
        return {key: masked_data(item, secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [masked_data(item, secrets) for item in value]
    return value


def save_transcripts(run_dir: Path, test: str, transcripts: Iterable[Transcript], secrets: tuple[str, ...]) -> str:
    """Write the conversations of a test below ``run_dir`` and return the file's path relative to it."""
    folder = run_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(test.encode()).hexdigest()[:16] + ".json"
    wires = [wire_data(transcript, secrets) for transcript in transcripts]
    (folder / name).write_text(json.dumps({"test": test, "wires": wires}, indent=1), encoding="utf-8")
    return f"{FOLDER}/{name}"


def conversation_of(run_dir: Path, test: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the wires of the conversation that a test's entry in run.json names, None where it names none.

    The run may come from anybody: only a file that lies in its evidence is opened. Raises BadRun where that is none.
    """
    name = str(test.get("transcript") or "")
    path = run_dir / name
    if not name or path.parent != run_dir / FOLDER or path.is_symlink() or not path.is_file():
        return None
    try:
        wires = json.loads(path.read_text(encoding="utf-8"))["wires"]
        if all(map(_is_wire, wires)):
            return list(wires)
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        pass
    raise BadRun(f"{path} is damaged: it holds no conversation")


def _is_wire(wire: Any) -> bool:
    """Return whether this is what :func:`wire_data` returns."""
    return (
        isinstance(wire["title"], str)
        and isinstance(wire["started"], int | float)
        and isinstance(wire["lines"], list)
        and all(
            isinstance(line["ms"], int | float)
            and line["direction"] in (">", "<", "!")
            and isinstance(line["text"], str)
            and bytes.fromhex(line["hex"]) is not None
            for line in wire["lines"]
        )
    )


def scrub(folder: Path, secrets: tuple[str, ...]) -> None:
    """Mask the secrets in every text file below ``folder``: what other libraries wrote there, tracebacks included."""
    if not secrets:
        return
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix in TEXT_FILES:
            text = path.read_text(encoding="utf-8", errors="surrogateescape")
            clean = masked(text, secrets)
            if clean != text:
                path.write_text(clean, encoding="utf-8", errors="surrogateescape")


def wire_data(transcript: Transcript, secrets: tuple[str, ...]) -> dict[str, Any]:
    """Return a conversation as plain data without secrets, as evidence files hold it.

    What nobody reads is cut: the middle of a very long conversation, and the end of a very long line.
    """
    lines = transcript.lines
    if len(lines) > MOST_LINES:
        left_out = Line(lines[MOST_LINES // 2].time, "!", b"", f"{len(lines) - MOST_LINES} lines are left out")
        lines = [*lines[: MOST_LINES // 2], left_out, *lines[-MOST_LINES // 2 :]]
    return {
        "title": masked(transcript.title, secrets),
        "started": transcript.started,
        "lines": [_line_data(line, secrets) for line in lines],
    }


def as_text(wires: Iterable[dict[str, Any]]) -> str:
    """Return conversations that are plain data as text, one line per frame or packet."""
    parts = []
    for wire in wires:
        lines = (f"{line['ms']:9.1f} ms {line['direction']} {line['text']}" for line in wire["lines"])
        parts.append("\n".join((wire["title"], *lines)))
    return "\n\n".join(parts)


def _line_data(line: Line, secrets: tuple[str, ...]) -> dict[str, Any]:
    text = masked(line.text, secrets)
    more = f" … ({len(line.octets)} octets)" if len(text) > LONGEST_TEXT else ""
    return {
        "ms": round(line.time * 1000, 3),
        "direction": line.direction,
        "text": text[:LONGEST_TEXT] + more,
        "octets": len(line.octets),
        "hex": masked_bytes(line.octets, secrets)[:LONGEST_OCTETS].hex(),
    }


@cache
def _pattern(secret: str) -> re.Pattern[str]:
    """Return what finds a secret in all its forms, the longest first."""
    parts = []
    for form in sorted(_forms(secret), key=len, reverse=True):
        part = re.escape(form)
        parts.append(part if len(form) >= SHORT else rf"(?<!\w){part}(?!\w)")
    return re.compile("|".join(parts) or "(?!)")


def _forms(secret: str) -> set[str]:
    """Return what a secret looks like in texts; a repr in JSON is escaped twice."""
    written = {secret, quote(secret, safe=""), quote(secret), repr(secret)[1:-1], repr(secret.encode())[2:-1]}
    forms = set(written)
    for text in written:
        forms |= {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
        forms |= {escape(text), escape(text, quote=False)}
    return forms - {""}
