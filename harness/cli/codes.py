"""Exit codes, the same for every command. Nothing is imported here, because every command line needs it."""

from typing import Final

CONFORMS: Final = 0
DEVIATES: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
INTERNAL: Final = 4
NOTHING: Final = 5
INTERRUPTED: Final = 130
READER_GONE: Final = 141

# What each means, for the page of reference.
MEANINGS: Final = {
    CONFORMS: "all conforms or is known to deviate; every rule and threshold holds; what was asked for is there",
    DEVIATES: "deviations; a rule, threshold or promise that does not hold; something got worse; a fault that survived",
    USAGE: "wrong usage or configuration; a file that cannot be read; no run where one was expected",
    UNREACHABLE: "a target cannot be reached or examined; a tool that the page needs is not there",
    INTERNAL: "internal error; the run is not complete",
    NOTHING: "nothing ran, or nothing deviates but results are inconclusive",
    INTERRUPTED: "interrupted, by Ctrl-C or SIGTERM; what there is has been written",
    READER_GONE: "whoever read the output has gone, as in a pipe to head",
}
