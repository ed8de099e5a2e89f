"""Markdown in which others have a word: brokers, captures, runs that somebody sent."""

from mqproof.harness.printable import printable


def cell(text: str) -> str:
    """Return text that stays within one cell of a table, whatever a broker or a run wrote into it."""
    escaped = printable(" ".join(text.split())).replace("\\", "\\\\").replace("|", "\\|").replace("[", "\\[")
    return escaped.replace("<", "&lt;").replace("`", "'")
