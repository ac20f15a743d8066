"""Colours of a client's pages: the one that it has, and what can be read on it."""

import re
from typing import Final

COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")
OURS: Final = "#1d4f91"
DARK: Final = 0.04045  # below it sRGB is linear
BLACK, WHITE = "#000000", "#ffffff"


def text_on(colour: str) -> str:
    """Black or white, whichever stands out more: one of them always does by 4.5 to 1 (WCAG 2.2, 1.4.3)."""
    light = _luminance(colour)
    return WHITE if 1.05 / (light + 0.05) >= (light + 0.05) / 0.05 else BLACK


def _luminance(colour: str) -> float:
    """How bright it is (WCAG 2.2, relative luminance)."""
    red, green, blue = (_linear(int(colour[n : n + 2], 16) / 255) for n in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= DARK else ((part + 0.055) / 1.055) ** 2.4
