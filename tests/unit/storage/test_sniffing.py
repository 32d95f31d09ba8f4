"""Which declared types the first bytes of a file contradict."""

import pytest

from lambda_app.storage.sniffing import contradicting_type
from tests.support import preview_samples as samples


@pytest.mark.parametrize("declared", ["image/heic", "image/heif", "image/heic-sequence"])
def test_photo_of_a_phone_does_not_contradict_its_type(declared: str) -> None:
    assert contradicting_type(declared, samples.picture("HEIF")) is None


def test_photo_of_a_phone_contradicts_other_images() -> None:
    assert contradicting_type("image/png", samples.picture("HEIF")) is not None
