"""Section 4.7 as a function: which topic filter selects which topic name."""


def selects(pattern: str, name: str) -> bool:
    """Return whether the filter selects the name (sections 4.7.1 and 4.7.2)."""
    if name.startswith("$") and pattern[:1] in ("+", "#"):
        return False
    return _match(pattern.split("/"), name.split("/"))


def _match(pattern: list[str], name: list[str]) -> bool:
    if not pattern:
        return not name
    if pattern[0] == "#":
        return True  # the parent level, too
    if not name:
        return False
    return pattern[0] in ("+", name[0]) and _match(pattern[1:], name[1:])
