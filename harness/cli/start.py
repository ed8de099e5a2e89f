"""Where the command begins: until there is somebody to catch it, Ctrl-C ends the process without a word."""

import signal


def main() -> None:
    """Import the command line, which takes a moment, and run it."""
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    from mqproof.harness.cli import main as command_line

    signal.signal(signal.SIGINT, before)
    command_line.main()
