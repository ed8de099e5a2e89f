"""The terminal. What a broker, a capture or a run says there is neither markup nor a command to the terminal."""

import re
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

# Control characters but the line feed (rich has made blanks of tabs), what turns the direction, and lone surrogates,
# which no stream can encode.
UNPRINTABLE: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Screen(Console):
    """A console for texts that others wrote; colours come from styles, never from brackets in a text.

    A character that would act on the terminal shows as a question mark, so that the width of a column stays.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of something, made harmless; those that rich itself writes to the terminal stay."""
        for segment in super().render(renderable, options):
            if segment.control or UNPRINTABLE.search(segment.text) is None:
                yield segment
            else:
                yield Segment(UNPRINTABLE.sub("?", segment.text), segment.style)
