"""Where a connection stands."""

from enum import Enum, auto


class Phase(Enum):
    """What a connection waits for, or how far its end has come. Before RUNNING, errors only close the socket."""

    HEADER = auto()
    START_OK = auto()
    TUNE_OK = auto()
    OPEN = auto()
    REFUSED = auto()
    RUNNING = auto()
    CLOSING = auto()
    ENDED = auto()
