"""Adapts a synthesised cloud assembly to the emulator: removes what the emulator lacks.

Only the templates change, after synthesis, so the rest is deployed exactly as in AWS.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

UNSUPPORTED_TYPES: dict[str, dict[str, str]] = {
    "AWS::CloudWatch::CompositeAlarm": {},
    "AWS::EC2::FlowLog": {},
    "AWS::EC2::SecurityGroupEgress": {},
    "AWS::EC2::SecurityGroupIngress": {},
    "AWS::GuardDuty::MalwareProtectionPlan": {},
    "AWS::Logs::QueryDefinition": {},
    "AWS::RDS::DBProxy": {"Endpoint": "127.0.0.1", "DBProxyArn": "arn:aws:rds:us-east-1:000000000000:db-proxy:prx-emulated"},
    "AWS::RDS::DBProxyTargetGroup": {},
    "AWS::SecretsManager::RotationSchedule": {},
}
"""Types that the emulator does not support, with substitutes for their attributes."""

MISSING_ATTRIBUTES = {
    ("AWS::EC2::VPC", "CidrBlock"): "10.0.0.0/16",
    **{("AWS::SES::EmailIdentity", f"DkimDNSToken{part}{number}"): "emulated" for part in ("Name", "Value") for number in (1, 2, 3)},
    ("AWS::RDS::DBCluster", "Endpoint.Address"): "127.0.0.1",
    ("AWS::RDS::DBInstance", "MasterUserSecret.SecretArn"): "arn:aws:secretsmanager:us-east-1:000000000000:secret:rds-owner",
}
"""Attributes that the emulator does not return, with substitutes."""


def adapt(assembly: Path, environments: Mapping[str, Mapping[str, str | None]]) -> list[str]:
    """Rewrite the templates of `assembly`. Return the removed resources as `Type LogicalId`.

    `environments` replaces environment variables of functions, by handler; None removes a variable. The emulator has no RDS, so the
    functions get the address of a separate PostgreSQL.
    """
    templates = {path: json.loads(path.read_text()) for path in sorted(assembly.glob("*.template.json"))}
    removed: list[str] = []
    imports: dict[str, Any] = {}
    for template in templates.values():
        removed += _adapt_template(template, environments)
        imports |= _literal_exports(template)
    for path, template in templates.items():
        path.write_text(json.dumps(_replace(template, {}, {}, imports), indent=1))
    return sorted(removed)


def _adapt_template(template: dict[str, Any], environments: Mapping[str, Mapping[str, str | None]]) -> list[str]:
    resources = template["Resources"]
    removed = {name: resource["Type"] for name, resource in resources.items() if _is_unsupported(resource)}
    attributes = {
        (name, attribute): value
        for name, resource in resources.items()
        for (kind, attribute), value in MISSING_ATTRIBUTES.items()
        if kind == resource["Type"]
    }
    for name in removed:
        del resources[name]
    for resource in resources.values():
        waits_for = resource.pop("DependsOn", [])
        kept = [name for name in ([waits_for] if isinstance(waits_for, str) else waits_for) if name not in removed]
        if kept:
            resource["DependsOn"] = kept
        if resource["Type"] == "AWS::Lambda::Function":
            _change_environment(resource["Properties"], environments)
    adapted = _replace(template, removed, attributes, {})
    template.clear()
    template.update(adapted)
    return [f"{kind} {name}" for name, kind in removed.items()]


def _is_unsupported(resource: Mapping[str, Any]) -> bool:
    # The emulator has alarms on one metric, but not on an expression of several.
    is_expression = resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in resource["Properties"]
    return resource["Type"] in UNSUPPORTED_TYPES or is_expression


def _change_environment(function: dict[str, Any], environments: Mapping[str, Mapping[str, str | None]]) -> None:
    variables = function["Environment"]["Variables"]
    for name, value in environments.get(function["Handler"], {}).items():
        variables.pop(name, None)
        if value is not None:
            variables[name] = value


def _literal_exports(template: dict[str, Any]) -> dict[str, Any]:
    """Remove and return the exports whose value is a literal now; `_replace` inserts the literals for the imports."""
    outputs = template.get("Outputs", {})
    return {
        output["Export"]["Name"]: outputs.pop(name)["Value"]
        for name, output in list(outputs.items())
        if isinstance(output["Value"], str) and "Export" in output
    }


def _replace(part: Any, removed: Mapping[str, str], attributes: Mapping[tuple[str, str], str], imports: Mapping[str, Any]) -> Any:
    """Return `part` of a template with literals in place of references to removed resources."""
    if isinstance(part, list):
        return [_replace(item, removed, attributes, imports) for item in part]
    if not isinstance(part, dict):
        return part
    match part:
        case {"Ref": str(name)} if name in removed:
            return f"emulated-{name}"
        case {"Fn::GetAtt": [name, attribute]} if name in removed or (name, attribute) in attributes:
            return UNSUPPORTED_TYPES[removed[name]][attribute] if name in removed else attributes[name, attribute]
        case {"Fn::ImportValue": str(name)} if name in imports:
            return imports[name]
        case _:
            return {key: _replace(value, removed, attributes, imports) for key, value in part.items()}
