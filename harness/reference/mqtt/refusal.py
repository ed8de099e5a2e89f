"""How the broker says no."""

from mqproof.dissectors.mqtt.codec import Properties


class Refusal(Exception):
    """A reaction that ends the connection: MQTT 5.0 section 4.13, MQTT 3.1.1 section 4.8.

    ``code``: the 5.0 reason code, for CONNACK before the connection is accepted and for DISCONNECT after. ``text``: for
    the Reason String. ``return_code``: what a 3.1.1 CONNACK says (section 3.2.2.3); None closes without one.
    ``server``: where else to go, for the Server Reference (5.0 section 4.11).
    """

    def __init__(self, code: int, text: str, return_code: int | None = None, server: str | None = None) -> None:
        super().__init__(f"0x{code:02X} {text}")
        self.code = code
        self.text = text
        self.return_code = return_code
        self.server = server

    @property
    def properties(self) -> Properties:
        """What a 5.0 CONNACK says beside the code."""
        reference = (("server_reference", self.server),) if self.server else ()
        return (*reference, ("reason_string", self.text))
