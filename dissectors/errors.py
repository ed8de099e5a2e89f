"""What the codecs raise."""


class Malformed(Exception):
    """Bytes that no further bytes can make legal.

    ``offset``: octets from the start of the frame or packet to the fault. ``rule``: the statement that was broken
    ("spec:id"). ``detail``: what was wrong, in words. ``code``: the reply code (AMQP) or reason code (MQTT) that the
    specification gives for it, 0 where it gives none.
    """

    def __init__(self, offset: int, rule: str, detail: str, code: int = 0) -> None:
        super().__init__(f"at octet {offset}: {detail} [{rule}]")
        self.offset = offset
        self.rule = rule
        self.detail = detail
        self.code = code


class Unencodable(ValueError):
    """A value that the wire format has no room for."""
