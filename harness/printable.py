"""What brokers, captures and the runs of others say is untrusted: shown, it must neither act nor hide itself."""

from html import escape


def printable(text: str) -> str:
    """Return ``text`` on one line, with control characters (of direction, too) and lone surrogates as escapes."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def printable_lines(text: str) -> str:
    """Return ``text`` with its lines and tabs, and everything else of it printable."""
    return "".join(char if char in "\n\t" else printable(char) for char in text)


def html_text(value: object) -> str:
    """Return a value as text of a page or a picture: no markup, and nothing that XML forbids."""
    return escape(printable(str(value)))


def counted(number: int, thing: str) -> str:
    """Return ``number`` of ``thing`` in words: ``1 fault``, ``2 faults``, ``0 faults``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"
