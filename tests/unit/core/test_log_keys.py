"""Signed notes of the audit log: keys, checkpoints and their signatures."""

from datetime import UTC, datetime

import pytest

from lambda_app.core.security.log_keys import BadCheckpointError, Checkpoint, LogSigner, LogVerifier, log_origin, open_checkpoint

SIGNER = LogSigner.from_secret("a secret of the test")
ORIGIN = log_origin("bucket", 3)
CHECKPOINT = Checkpoint(ORIGIN, 17, bytes(range(32)), datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC))
NOTE = SIGNER.sign(CHECKPOINT)


def test_note_has_the_format_of_a_tlog_checkpoint() -> None:
    text, _, signature = NOTE.partition("\n\n")

    assert text.split("\n") == [
        "we-upload/bucket/3",
        "17",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "time 2026-01-02T03:04:05.000006Z",
    ]
    assert signature.startswith("— we-upload/bucket/3 ")


def test_signed_checkpoint_is_opened_with_its_key() -> None:
    opened = open_checkpoint(NOTE, [LogVerifier.parse(SIGNER.verifier(ORIGIN).render())])

    assert (opened, opened.era) == (CHECKPOINT, 3)


def test_changing_any_character_of_a_note_makes_it_invalid() -> None:
    verifier = SIGNER.verifier(ORIGIN)
    for index, character in enumerate(NOTE[:-1]):
        changed = NOTE[:index] + ("A" if character != "A" else "B") + NOTE[index + 1 :]
        with pytest.raises(BadCheckpointError):
            open_checkpoint(changed, [verifier])


def test_changing_any_character_of_a_key_makes_it_invalid() -> None:
    vkey = SIGNER.verifier(ORIGIN).render()
    for index, character in enumerate(vkey):
        with pytest.raises(BadCheckpointError):
            LogVerifier.parse(vkey[:index] + ("A" if character != "A" else "B") + vkey[index + 1 :])


def test_key_of_another_secret_or_origin_verifies_nothing() -> None:
    others = [LogSigner.from_secret("another secret").verifier(ORIGIN), SIGNER.verifier(log_origin("bucket", 4))]

    with pytest.raises(BadCheckpointError, match="no valid signature"):
        open_checkpoint(NOTE, others)
    with pytest.raises(BadCheckpointError, match="not a checkpoint"):
        open_checkpoint("text\n\n", others)


def test_seed_is_not_part_of_the_representation() -> None:
    assert SIGNER.seed.hex() not in repr(SIGNER)
    assert repr(SIGNER.seed) not in repr(SIGNER)
