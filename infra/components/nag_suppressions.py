"""Suppresses findings of cdk-nag, each with its reason."""

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def suppress_nag(construct: IConstruct, rule: str, *findings: str, reason: str) -> None:
    """Suppress `rule` for `construct` and its children, or only the named `findings` of the rule."""
    for name in [f"{rule}[{finding}]" for finding in findings] or [rule]:
        Validations.of(construct).acknowledge(Acknowledgment(id=name, reason=reason))
