"""The statements of scheduled jobs, exports and rare pages scan no big table, also with a million rows in each."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import islice
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from lambda_app.core import clock
from lambda_app.handlers.seal import run_dispatch, run_seal
from lambda_app.repositories.accounts.deletions import AccountDeletionRepository
from lambda_app.repositories.accounts.exports import PAGE_ROWS, SECTIONS, ExportRepository
from lambda_app.repositories.accounts.transfers import OwnershipTransferRepository
from lambda_app.repositories.archives.sweep import ArchiveSweepRepository
from lambda_app.repositories.audit_log import AuditLogRepository
from lambda_app.repositories.files.idempotency import IdempotencyRepository
from lambda_app.repositories.files.previews import PreviewRepository
from lambda_app.repositories.files.sweep import SweepRepository
from lambda_app.repositories.files.tombstones import TombstoneRepository
from lambda_app.repositories.notifications.collection import CollectionRepository
from lambda_app.repositories.notifications.digests import DigestRepository
from lambda_app.repositories.stats import StatsRepository
from lambda_app.repositories.webhooks.deliveries import WebhookDeliveryRepository
from lambda_app.services.notifications.collector import NotificationCollector
from tests.scale.block_reads import StatementReads
from tests.scale.conftest import SCALE, ScaledApp
from tests.scale.fill import BIG_TABLES

pytestmark = pytest.mark.slow

API = "/api/v1"
JOB_BLOCKS_MAX = 20_000
"""A statement of a job reads up to 2,000 rows and what belongs to them."""
SCANNED_BLOCKS_MAX = 5000 * SCALE
"""PostgreSQL scans a table that is smaller than this, because that takes less time than its index."""
PURGE_SCANNED_BLOCKS_MAX = 8000
"""A batch of a purge deletes 2,000 rows, for which it reads 8,000 blocks with the index. A scan of fewer takes less time."""
_SCAN = re.compile(r"Seq Scan (\w+): .* (\d+) blocks$", re.MULTILINE)


def _scanned(read: StatementReads) -> int:
    # Partitions have the name of their table and their first number.
    found = [(table.split("_from_")[0], int(blocks)) for table, blocks in _SCAN.findall(read.plan)]
    return max((blocks for table, blocks in found if table in BIG_TABLES), default=0)


@contextmanager
def bounded(scaled: ScaledApp, *, scanned_blocks_max: float = SCANNED_BLOCKS_MAX) -> Iterator[Session]:
    """Open a session whose statements scan no big table and read a bounded number of blocks."""
    with scaled.reads.recorded() as reads, scaled.services.unit_of_work() as session:
        yield session
    unbounded = [read for read in reads if read.blocks > JOB_BLOCKS_MAX or _scanned(read) > scanned_blocks_max]
    assert reads
    assert not unbounded, "\n\n".join(f"{read.blocks} blocks: {read.statement}\n{read.plan[:6000]}" for read in unbounded)


def test_sealer_dispatcher_and_collector_read_only_what_is_new(scaled: ScaledApp) -> None:
    with scaled.services.unit_of_work() as session:
        # As if these jobs had run a while ago: 500 events are new to the dispatcher, and 500 to the collector.
        session.execute(text("UPDATE event_cursor SET (xid, seq) = (SELECT max(cutoff) - 500, max(last_seq) - 500 FROM audit_checkpoint)"))
        session.execute(text("UPDATE notification_cursor SET event_id = (SELECT max(id) - 500 FROM published_event)"))

    with bounded(scaled):
        sealed = run_seal(scaled.services)
    with bounded(scaled):
        dispatched = run_dispatch(scaled.services, budget_seconds=20)
    with bounded(scaled) as session:
        # This deployment sends no mail.
        collected = NotificationCollector(collection=CollectionRepository(session), can_send=True).run(budget_seconds=20)
        digest = DigestRepository(session).claim(now=clock.now() + timedelta(days=1), lease=timedelta(minutes=1))

    assert sealed["sealed"] >= 1000
    assert dispatched["read"] >= 500
    assert collected.read >= 500
    assert digest is not None
    assert digest.content


def test_count_of_an_hour_reads_only_that_hour(scaled: ScaledApp) -> None:
    with scaled.services.unit_of_work() as session:
        session.execute(text("DELETE FROM upload_hour WHERE hour > now() - interval '1 day'"))

    with bounded(scaled) as session:
        counted = StatsRepository(session).count_ended_hours(days=90)

    assert counted >= 22


def test_sweep_reads_only_what_is_due(scaled: ScaledApp) -> None:
    now, owner = clock.now(), scaled.world.owner.id
    with bounded(scaled) as session:
        files = SweepRepository(session)
        overdue = files.list_overdue(now + timedelta(days=2), after=None, limit=200)
        files.list_overdue(now + timedelta(days=2), after=overdue[-1].id, limit=200)
        files.list_ended(after=None, limit=200)
        files.list_to_purge(now, after=None, limit=200)
        files.list_rejected(now, after=None, limit=200)
        owned = files.list_of_owner(owner, after=None, limit=200)
        stored = files.list_stored(after=None, until=None, limit=1000)
        files.get_statuses(stored)
        tombstones = TombstoneRepository(session, deletion_allowance_bytes=0)
        tombstones.list_owners_with_ended_charges(now, after=None, limit=200)
        tombstones.count_ended_charges(owner, now)
        tombstones.count_expired(now)
        tombstones.list_existing(stored)
        IdempotencyRepository(session).count_expired(now - timedelta(days=1))
        archives = ArchiveSweepRepository(session)
        archives.list_abandoned(now, after=None, limit=200)
        archives.list_ready(after=None, limit=200)
        archives.list_claimable(now, limit=200)
        AccountDeletionRepository(session).list_due(now, after=None, limit=200)
        OwnershipTransferRepository(session).list_moving(after=None, limit=200)

    assert overdue
    assert (len(owned), len(stored)) == (200, 1000)


def test_purges_read_only_what_has_expired(scaled: ScaledApp) -> None:
    with bounded(scaled, scanned_blocks_max=PURGE_SCANNED_BLOCKS_MAX) as session:
        purged = scaled.services.maintenance(session).purge()

    assert purged


def test_deliveries_are_found_by_their_webhook(scaled: ScaledApp) -> None:
    with scaled.services.unit_of_work() as session:
        # Not of the owner, whose webhooks other tests delete.
        busiest = text(
            "SELECT webhook_id FROM webhook_delivery WHERE webhook_id <> :owner GROUP BY webhook_id ORDER BY count(*) DESC LIMIT 1"
        )
        owner = session.execute(busiest, {"owner": scaled.world.owner.id}).scalar_one()
    with bounded(scaled) as session:
        deliveries = WebhookDeliveryRepository(session)
        deliveries.lock_due_webhook()
        deliveries.count_leases(limit=100)
        due = deliveries.list_due(owner, limit=100)
        deliveries.list_pending(owner, [delivery.id for delivery in due])
        deliveries.first_due_at(owner)
        newest = deliveries.page(owner, before=None, limit=100, status=None)
        pending = deliveries.page(owner, before=newest[-1].delivery.event_id, limit=100, status="pending")

    assert len(newest) == 100
    assert due
    assert pending


def test_previews_are_found_by_their_state(scaled: ScaledApp) -> None:
    with bounded(scaled) as session:
        previews = PreviewRepository(session)
        found = previews.list_available(after=None, limit=100)
        previews.list_available(after=found[-1][0], limit=100)
        overdue = previews.list_overdue(found[-1][0].created_at, after=None, limit=100)
        previews.list_ready([file.id for file, _ in found])

    assert len(found) == 100
    assert overdue is not None


@pytest.mark.parametrize("section", SECTIONS, ids=[section.name for section in SECTIONS])
def test_export_reads_each_section_in_pages(scaled: ScaledApp, section: object) -> None:
    with bounded(scaled) as session:
        rows = list(islice(ExportRepository(session).list_rows(section, scaled.world.owner.id), 2 * PAGE_ROWS + 1))  # type: ignore[arg-type]  # parametrized

    assert rows or section.name not in ("account", "files", "audit_events", "published_events")  # type: ignore[attr-defined]  # parametrized


def test_export_reads_the_files_in_pages(scaled: ScaledApp) -> None:
    with bounded(scaled) as session:
        files = list(islice(ExportRepository(session).list_files(scaled.world.owner.id), 2 * PAGE_ROWS + 1))

    assert len(files) == 2 * PAGE_ROWS + 1


def test_place_of_an_event_is_found_by_the_checkpoints_around_it(scaled: ScaledApp) -> None:
    with bounded(scaled) as session:
        log = AuditLogRepository(session)
        event = log.get_event(scaled.sizes.events // 2)
        assert event is not None
        position = log.position(event)
        log.list_events("share:" + str(UUID(int=1)), "share.downloaded", limit=100)
        log.find_event("share:" + str(UUID(int=1)), "share.downloaded")

    assert position is not None


PAGES = (
    "/events?after=0",
    "/events?after=5&type=share.downloaded",
    "/events?type=file.rejected&after=0",
    "/invitations",
    "/transfers",
    "/admin/withheld-files",
    "/users/me/notifications",
    "/users/me/export",
)


@pytest.mark.parametrize("caller", ["owner", "superuser"])
@pytest.mark.parametrize("path", PAGES)
def test_pages_of_later_features_read_a_bounded_number_of_rows(scaled: ScaledApp, path: str, caller: str) -> None:
    with bounded(scaled):
        response = scaled.client.get(API + path, headers=scaled.world.headers(caller))

    assert response.status_code < 500
