"""Steps that several browser tests of the web app share. `visit.mjs` documents the steps."""

from typing import Any

Results = dict[str, Any]
Steps = list[dict[str, Any]]
_AUTOFOCUS = "info: Autofocus processing was blocked because a document already has a focused element."
"""Chromium logs it for each dialog with `autofocus`, although the dialog then focuses that element."""


def sign_in(email: str, password: str) -> Steps:
    """Return the steps from the sign-in page into the app."""
    return [{"fill": "E-mail", "value": email}, {"fill": "Password", "value": password}, {"click": "Sign in"}]


def choose_action(of: str, action: str) -> Steps:
    """Return the steps that open the menu of a row and choose an action."""
    return [{"click": f"More actions for {of}"}, {"click": action, "role": "menuitem"}]


def keeps_policy(jobs: dict[str, Any]) -> dict[str, Any]:
    """Return jobs whose pages keep their Content-Security-Policy, so that violations are reported."""
    return {name: {**job, "keepsPolicy": True} for name, job in jobs.items()}


def delay_receipt(address: str, method: str) -> dict[str, Any]:
    """Return the step that lets the first request for a receipt at the address come too early."""
    return {"refuse": {"address": address, "method": method, "status": 409, "code": "receipt_not_ready", "times": 1, "retryAfter": 1}}


def failures(results: Results) -> dict[str, str]:
    """Return the failed step of each job that did not complete."""
    return {name: result["failed"] for name, result in results.items() if "failed" in result}


def console_messages(results: Results) -> dict[str, list[str]]:
    """Return what each page logged: errors, and violations of the policy."""
    found = {name: [message for message in result["console"] if message != _AUTOFOCUS] for name, result in results.items()}
    return {name: messages for name, messages in found.items() if messages}
