"""Mail: one sender and one endpoint, only when configured."""

import json

from tests.infra.conftest import Synthesised


def test_mail_is_off_by_default(prod: Synthesised, dev: Synthesised) -> None:
    for stacks in (prod, dev):
        text = json.dumps([stacks.network, stacks.data, stacks.api])
        assert '"ses:' not in text
        assert "AWS::SES" not in text
        assert "MAIL_FROM" not in text
        assert "REQUIRE_VERIFIED_EMAIL" not in text
        assert ".email" not in json.dumps(stacks.of_type("AWS::EC2::VPCEndpoint"))


def test_only_the_api_and_the_sealer_can_send_mail_and_only_as_the_sender(behind_firewall: Synthesised) -> None:
    allowed = {
        name: statement
        for name, part in behind_firewall.api["Resources"].items()
        if part["Type"] == "AWS::IAM::Policy"
        for statement in part["Properties"]["PolicyDocument"]["Statement"]
        if "ses:" in json.dumps(statement)
    }

    # The sealer's function also sends notifications.
    assert sorted(name.partition("Role")[0] for name in allowed) == ["Api", "Seal"]
    for statement in allowed.values():
        assert statement["Action"] == "ses:SendEmail"
        assert statement["Condition"] == {"StringEquals": {"ses:FromAddress": "files@mail.example.com"}}
        assert json.dumps(statement["Resource"]).endswith(':identity/mail.example.com"]]}')


def test_api_receives_sender_and_public_url(behind_firewall: Synthesised) -> None:
    (api,) = [part for part in behind_firewall.of_type("AWS::Lambda::Function") if part["Handler"] == "lambda_app.main.handler"]

    assert api["Environment"]["Variables"]["MAIL_FROM"] == "files@mail.example.com"
    assert api["Environment"]["Variables"]["PUBLIC_URL"] == "https://app.example.com"


def test_mail_endpoint_is_the_ses_api_and_allows_sending_only(behind_firewall: Synthesised) -> None:
    (endpoint,) = [part for part in behind_firewall.of_type("AWS::EC2::VPCEndpoint") if "email" in json.dumps(part["ServiceName"])]
    (statement,) = endpoint["PolicyDocument"]["Statement"]

    assert json.dumps(endpoint["ServiceName"]).endswith('.email"]]}')
    assert endpoint["PrivateDnsEnabled"] is True
    assert statement["Action"] == "ses:SendEmail"
    assert statement["Condition"] == {"StringEquals": {"aws:PrincipalAccount": {"Ref": "AWS::AccountId"}}}


def test_identity_is_created_when_configured_and_its_dns_records_are_outputs(behind_firewall: Synthesised) -> None:
    assert behind_firewall.only("AWS::SES::EmailIdentity")["EmailIdentity"] == "mail.example.com"
    assert len([name for name in behind_firewall.data["Outputs"] if name.startswith("MailRecord")]) == 3
    (identity,) = [part for part in behind_firewall.data["Resources"].values() if part["Type"] == "AWS::SES::EmailIdentity"]
    assert identity["DeletionPolicy"] == "Retain"
