"""Colours of an operator's accent: contrast (WCAG 2.2), and the tones that the pages derive from it."""

import re
from dataclasses import dataclass

TEXT_CONTRAST_MIN = 4.5
"""Contrast that normal text needs (WCAG 2.2, 1.4.3)."""
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_WHITE, _BLACK = (255, 255, 255), (0, 0, 0)
_STEPS = 100

Rgb = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Ground:
    """What an accent stands on in one theme: the design tokens `--bg`, `--surface` and `--text3`."""

    page: Rgb
    surface: Rgb
    quiet_text: Rgb


LIGHT = Ground(page=(0xF6, 0xF7, 0xF8), surface=(255, 255, 255), quiet_text=(0x5F, 0x6B, 0x73))
DARK = Ground(page=(0x0E, 0x12, 0x14), surface=(0x15, 0x1A, 0x1D), quiet_text=(0x93, 0xA0, 0xA8))


@dataclass(frozen=True, slots=True)
class AccentTones:
    """The accent of one theme and what belongs to it. All are `#rrggbb`."""

    accent: str
    hover: str
    on_accent: str
    soft: str


def parse_colour(text: str) -> Rgb:
    """Return the colour of `#rrggbb`. Raises ValueError."""
    if not _HEX.fullmatch(text):
        raise ValueError("must be a colour such as #0b6470")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def contrast(one: Rgb, other: Rgb) -> float:
    """Return the contrast ratio of two colours, from 1 to 21 (WCAG 2.2, "contrast ratio")."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def require_readable_accent(text: str) -> str:
    """Return the accent if it can be read on a light page. Raises ValueError with what to change."""
    ratio = contrast(parse_colour(text), LIGHT.page)
    if ratio < TEXT_CONTRAST_MIN:
        raise ValueError(
            f"{text} is too light: its contrast on the page is {ratio:.1f}, and text needs {TEXT_CONTRAST_MIN}. Choose a darker colour"
        )
    return text.lower()


def light_tones(accent: str) -> AccentTones:
    """Return the tones of the light theme for an accent that `require_readable_accent` accepts."""
    colour = parse_colour(accent)
    return AccentTones(
        accent=accent,
        hover=_hex(_mix(colour, _BLACK, 0.25)),
        on_accent=_hex(_WHITE),
        soft=_hex(_soft(colour, colour, LIGHT, strongest=0.12)),
    )


def dark_tones(accent: str) -> AccentTones:
    """Return the tones of the dark theme: the accent, lightened until it can be read on dark ground."""
    base = parse_colour(accent)
    colour = next(
        mixed for step in range(_STEPS + 1) if contrast(mixed := _mix(base, _WHITE, step / _STEPS), DARK.surface) >= TEXT_CONTRAST_MIN + 2
    )
    on_accent = _mix(colour, _BLACK, 0.85)
    if contrast(on_accent, colour) < TEXT_CONTRAST_MIN:
        on_accent = _BLACK
    return AccentTones(
        accent=_hex(colour),
        hover=_hex(_mix(colour, _WHITE, 0.25)),
        on_accent=_hex(on_accent),
        soft=_hex(_soft(base, colour, DARK, strongest=0.4)),
    )


def _soft(tint: Rgb, accent: Rgb, ground: Ground, *, strongest: float) -> Rgb:
    """Return a tinted ground on which the accent and quiet text can be read."""
    for step in range(_STEPS):
        soft = _mix(ground.page, tint, strongest * (1 - step / _STEPS))
        if min(contrast(accent, soft), contrast(ground.quiet_text, soft)) >= TEXT_CONTRAST_MIN:
            return soft
    return ground.page


def _luminance(colour: Rgb) -> float:
    """Return the relative luminance (WCAG 2.2)."""
    red, green, blue = ((c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4) for c in (value / 255 for value in colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _mix(one: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _hex(colour: Rgb) -> str:
    return "#" + "".join(f"{value:02x}" for value in colour)
