"""One-time codes of authenticator apps (TOTP, RFC 6238: HMAC-SHA-1, six digits, steps of 30 seconds), and recovery codes."""

import base64
import secrets
from datetime import datetime

SECRET_BYTES = 20
"""RFC 4226, section 4, recommends 160 bits."""
STEP_SECONDS = 30
DIGITS = 6
DRIFT_STEPS = 1
"""Steps before and after the current one whose codes are accepted, because clocks differ and people type slowly."""
RECOVERY_CODES = 10
RECOVERY_CODE_GROUPS = 4
RECOVERY_CODE_GROUP_LENGTH = 4


def new_totp_secret() -> str:
    """Return a random secret in Base32, as authenticator apps take it."""
    return base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode()


def totp_code(secret: str, step: int) -> str:
    """Return the code of a time step."""
    # Imported at the first use, because most requests do not need it.
    from cryptography.hazmat.primitives.hashes import SHA1
    from cryptography.hazmat.primitives.twofactor.totp import TOTP

    key = base64.b32decode(secret)
    return TOTP(key, DIGITS, SHA1(), STEP_SECONDS, enforce_key_length=False).generate(step * STEP_SECONDS).decode()  # noqa: S303 - RFC 6238


def matching_step(secret: str, code: str, now: datetime) -> int | None:
    """Return the time step near `now` to which the code belongs; None if it belongs to none."""
    current = int(now.timestamp()) // STEP_SECONDS
    found = None
    # All candidates are compared, so that the time taken does not reveal which one matches.
    for step in range(current - DRIFT_STEPS, current + DRIFT_STEPS + 1):
        if secrets.compare_digest(totp_code(secret, step).encode(), code.encode()):
            found = step
    return found


def provisioning_uri(secret: str, *, account: str, issuer: str) -> str:
    """Return the `otpauth` URI that authenticator apps read from a QR code."""
    from urllib.parse import quote, urlencode

    label = quote(f"{issuer}:{account}", safe="@")
    parameters = {"secret": secret, "issuer": issuer, "algorithm": "SHA1", "digits": DIGITS, "period": STEP_SECONDS}
    return f"otpauth://totp/{label}?{urlencode(parameters, quote_via=quote)}"


def qr_code_svg(text: str) -> str:
    """Return the QR code of the text as an SVG document without scripts or styles."""
    import io

    import segno

    output = io.BytesIO()
    segno.make(text, error="m", micro=False).save(output, kind="svg", scale=4, border=4, xmldecl=False, svgns=True, nl=False)
    return output.getvalue().decode()


def new_recovery_codes() -> list[str]:
    """Return ten random codes of 80 bits, in groups that people can copy by hand."""
    length = RECOVERY_CODE_GROUPS * RECOVERY_CODE_GROUP_LENGTH * 5 // 8
    codes = [base64.b32encode(secrets.token_bytes(length)).decode().lower() for _ in range(RECOVERY_CODES)]
    size = RECOVERY_CODE_GROUP_LENGTH
    return ["-".join(code[start : start + size] for start in range(0, len(code), size)) for code in codes]


def normalise_code(code: str) -> str:
    """Return a submitted code without the spaces and hyphens that people and apps put between groups, in lower case."""
    return code.replace(" ", "").replace("-", "").lower()
