"""What can be wrong with a target before the first test runs: each is one line that says what, where and what to do."""


class TargetError(Exception):
    """A target that cannot be examined; the command ends with exit code 3."""

    exit_code = 3


class Unreachable(TargetError):
    """No connection: refused, no such name, no route, no answer, or the server takes no clients now."""


class TlsFailed(TargetError):
    """TLS was asked for and did not come to stand, or the server could not be verified."""


class WrongProtocol(TargetError):
    """Something answers there, but does not speak the protocol of the URL."""


class LoginRefused(TargetError):
    """The server refuses the user, the password or the virtual host."""


class Silent(TargetError):
    """The server takes the connection and then says nothing."""


class BrokerMissing(TargetError):
    """The broker that a driver starts is not installed."""


class BrokerFailed(TargetError):
    """A local broker did not start, or ended by itself; ``log``: what it wrote, as far as it is known."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log
