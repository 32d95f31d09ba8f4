"""Findings of cdk-nag that we accept, each with its reason beside it."""

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def acknowledge(construct: IConstruct, rule: str, *findings: str, reason: str) -> None:
    """Accept `rule` on `construct` and below, or only its named `findings`."""
    for name in [f"{rule}[{finding}]" for finding in findings] or [rule]:
        Validations.of(construct).acknowledge(Acknowledgment(id=name, reason=reason))
