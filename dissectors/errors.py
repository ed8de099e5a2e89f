"""What the codecs raise."""


class Malformed(Exception):
    """Bytes that no further bytes can make legal.

    ``offset``: octets from the start of the frame or packet to the fault. ``rule``: the statement that was broken
    ("spec:id"). ``detail``: what was wrong, in words.
    """

    def __init__(self, offset: int, rule: str, detail: str) -> None:
        super().__init__(f"at octet {offset}: {detail} [{rule}]")
        self.offset = offset
        self.rule = rule
        self.detail = detail


class Unencodable(ValueError):
    """A value that the wire format has no room for."""
