"""A webhook, an invitation and an offer of all files: what else an account can open to others."""

from datetime import timedelta
from uuid import uuid4

import httpx
from sqlalchemy import or_, select

from lambda_app.core import clock
from lambda_app.factory import Services
from lambda_app.models import Invitation, OwnershipTransfer, Webhook
from tests.support.accounts import Account

API = "/api/v1"


def open_other_ways(client: httpx.Client, services: Services, account: Account, recipient: Account) -> str:
    """Let the account create one of each; return the id of the transfer, which is offered to the recipient."""
    webhook = client.post(f"{API}/webhooks", json={"url": "https://hooks.example.com/a"}, headers=account.headers)
    assert webhook.status_code == 201, webhook.text
    now = clock.now()
    with services.unit_of_work() as session:
        # Only superusers send such invitations; a superuser may have lost the role, or may have changed the address.
        session.add(
            Invitation(
                id=uuid4(),
                inviter_id=account.id,
                email=f"{uuid4()}@example.com",
                token_hash=uuid4().hex,
                created_at=now,
                sent_at=now,
                expires_at=now + timedelta(days=7),
            )
        )
    body = {"email": recipient.email, "current_password": account.password}
    offered = client.post(f"{API}/users/{account.id}/transfer", json=body, headers=account.headers)
    assert offered.status_code == 201, offered.text
    return str(offered.json()["id"])


def has_other_ways(services: Services, account: Account) -> bool:
    """Return whether the account has a webhook, an invitation or an open offer of its files."""
    with services.unit_of_work() as session:
        webhooks = select(Webhook.id).where(Webhook.owner_id == account.id, Webhook.deleted_at.is_(None))
        invitations = select(Invitation.id).where(Invitation.inviter_id == account.id)
        is_open = or_(OwnershipTransfer.status == "requested", OwnershipTransfer.status == "moving")
        transfers = select(OwnershipTransfer.id).where(OwnershipTransfer.from_id == account.id, is_open)
        return session.execute(webhooks.union_all(invitations, transfers)).first() is not None
