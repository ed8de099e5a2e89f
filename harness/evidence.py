"""Evidence that outlives a run: conversations as files, with every secret masked before it reaches a disk."""

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mqproof.harness.targets.target import Target
from mqproof.harness.wires.base import Transcript

FOLDER = "evidence"
MASK = "***"
SHORT = 4  # characters: a shorter secret is masked as a whole word only, or it would mask half of every text
TEXT_FILES = (".json", ".jsonl", ".xml", ".txt", ".log", ".html", ".md", ".csv", ".properties")


def secrets_of(targets: Iterable[Target]) -> tuple[str, ...]:
    """Return the passwords to hide, longest first; the public default ``guest`` is none."""
    passwords = {target.password for target in targets if target.password and target.password != "guest"}
    return tuple(sorted(passwords, key=len, reverse=True))


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` without the secrets, also where they are escaped as in a URL, in JSON or in Python's repr."""
    for secret in secrets:
        for form in sorted(_forms(secret), key=len, reverse=True):
            pattern = re.escape(form)
            text = re.sub(pattern if len(form) >= SHORT else rf"(?<!\w){pattern}(?!\w)", MASK, text)
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
    """Return a conversation as plain data without secrets, as evidence files hold it."""
    lines = [
        {
            "ms": round(line.time * 1000, 3),
            "direction": line.direction,
            "text": masked(line.text, secrets),
            "hex": masked_bytes(line.octets, secrets).hex(),
        }
        for line in transcript.lines
    ]
    return {"title": masked(transcript.title, secrets), "started": transcript.started, "lines": lines}


def _forms(secret: str) -> set[str]:
    forms = {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    forms.add(repr(secret.encode())[2:-1])
    return forms - {""}
