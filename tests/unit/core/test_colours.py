"""The operator's accent: readable on the page, or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_app.core.colours import DARK, LIGHT, TEXT_CONTRAST_MIN, contrast, dark_tones, light_tones, parse_colour, require_readable_accent

COLOURS = st.tuples(*[st.integers(0, 255)] * 3).map(lambda rgb: "#{:02x}{:02x}{:02x}".format(*rgb))


def test_contrast_is_that_of_the_standard() -> None:
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((0x0B, 0x64, 0x70), (255, 255, 255)) == pytest.approx(6.8, abs=0.05)


@pytest.mark.parametrize("accent", ["#ffcc00", "#5cc6ce", "#ffffff", "#7f8a92"])
def test_light_accent_is_refused_with_the_reason(accent: str) -> None:
    with pytest.raises(ValueError, match=f"{accent} is too light: its contrast on the page is .*Choose a darker colour"):
        require_readable_accent(accent)


@pytest.mark.parametrize("accent", ["red", "#0b647", "#0b6470ff", "0b6470", "#0b647g", "#0b6470;color:red", ""])
def test_only_six_hexadecimal_digits_are_a_colour(accent: str) -> None:
    with pytest.raises(ValueError, match="must be a colour such as"):
        parse_colour(accent)


@given(COLOURS)
def test_each_accepted_accent_gives_readable_tones_in_both_themes(accent: str) -> None:
    try:
        require_readable_accent(accent)
    except ValueError:
        return
    for tones, ground in ((light_tones(accent), LIGHT), (dark_tones(accent), DARK)):
        colour, hover, on_accent, soft = (parse_colour(tone) for tone in (tones.accent, tones.hover, tones.on_accent, tones.soft))
        pairs = {
            "text on the page": (colour, ground.page),
            "text on a card": (colour, ground.surface),
            "hovered text": (hover, ground.page),
            "label of a button": (on_accent, colour),
            "label of a hovered button": (on_accent, hover),
            "text on the tint": (colour, soft),
            "quiet text on the tint": (ground.quiet_text, soft),
        }
        assert {name: contrast(*pair) for name, pair in pairs.items() if contrast(*pair) < TEXT_CONTRAST_MIN} == {}
