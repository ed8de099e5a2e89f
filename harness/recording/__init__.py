"""Recording of what passes between the suites and a broker: real packets where permitted, else a tap."""

from mqproof.harness.recording.record import Recording, record

__all__ = ["Recording", "record"]
