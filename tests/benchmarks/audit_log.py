"""Audited actions per second: the log, beside the hash chain with one locked head that it replaced.

`python -m tests.benchmarks.audit_log` prints the table of docs/performance.md and exits with 1 if the budget is missed. Each client of
`pgbench` changes a row of its own and writes an event, in one statement that commits by itself, as the application does. The server has its
durability on; the flush of the write-ahead log is slowed by `commit_delay` with `commit_siblings = 0`, which adds the delay to every flush.
The chain is the schema before migration 0022. While the log is measured, the sealer runs each second.

The log is limited by the processors, which it shares with pgbench, and the chain by the flush. So the clients are as light as pgbench can
make them, for both: they connect by a Unix socket, and each connection prepares the statement once. `--protocol simple` parses and plans it
each time. A measurement is long enough for the first second, in which each connection reads the catalogue, to weigh little.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from infra.local.postgres import Postgres, binaries_folder, start_postgres
from lambda_app.core.security.log_keys import LogSigner
from lambda_app.core.settings import Environment, Settings
from lambda_app.db import migrations
from lambda_app.db.engine import create_database_engine
from lambda_app.repositories.audit import AuditRepository
from lambda_app.repositories.audit_log import AuditLogRepository
from lambda_app.services.audit_sealing import AuditSealer

CHAIN_REVISION = "0022-1"
"""The revision before the log."""
CLIENTS = (1, 8, 16, 64)
FLUSHES_MS = (0, 1, 3)
PROTOCOLS = ("prepared", "simple")
BUDGET = 20.0
"""Least ratio of the log to the chain with 64 clients and a flush of 3 ms."""
STATEMENT = """
WITH changed AS (UPDATE own SET n = n + 1 WHERE id = :client_id RETURNING id),
logged AS (INSERT INTO audit_event (at, action, actor_id, credential, subject, details, source_address, request_id)
    SELECT now(), 'bench.changed', '0a0b0c0d-0000-4000-8000-000000000001', 'session:0a0b0c0d-0000-4000-8000-000000000001',
        concat('own:', id), '{"file_id": "0a0b0c0d-0000-4000-8000-000000000001"}', '203.0.113.7', 'request' FROM changed)
SELECT id FROM changed;
"""


class NoCopies:
    """Copies that are written nowhere: the benchmark has no object store."""

    def put(self, era: int, size: int, note: str) -> None:
        """Write nothing."""

    def get(self, era: int, size: int) -> None:  # the interface of CheckpointCopies
        """Return no copy."""
        return

    def list_after(self, era: int, size: int) -> list[tuple[int, int]]:  # the interface of CheckpointCopies
        """Return no copies."""
        return []


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10, help="duration of each measurement")
    parser.add_argument("--protocol", choices=PROTOCOLS, default=PROTOCOLS[0], help="how the clients send the statement")
    parser.add_argument("--flushes", type=int, nargs="+", default=list(FLUSHES_MS), help="milliseconds added to each flush")
    parser.add_argument("--clients", type=int, nargs="+", default=list(CLIENTS))
    arguments = parser.parse_args()
    print("| flush slower by | clients | chain, per second | log, per second | ratio |\n| --- | ---: | ---: | ---: | ---: |")
    is_within_budget = True
    for flush in arguments.flushes:
        for clients, chain, log in measure(flush, arguments.clients, seconds=arguments.seconds, protocol=arguments.protocol):
            print(f"| {flush} ms | {clients} | {chain:,.0f} | {log:,.0f} | {log / chain:.1f} |", flush=True)
            if (flush, clients) == (3, 64):
                is_within_budget = log / chain >= BUDGET
    sys.exit(0 if is_within_budget else 1)


def measure(flush_ms: int, clients: list[int], *, seconds: int, protocol: str) -> Iterator[tuple[int, float, float]]:
    """Yield the number of clients, and the audited actions per second with the chain and with the log."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="we-upload-bench-")))
        folder.chmod(0o711)
        sockets = folder / "data"
        slow_flush = ("fsync=on", f"commit_delay={flush_ms * 1000}", "commit_siblings=0")
        options = (*slow_flush, "max_connections=120", f"unix_socket_directories={sockets}")
        postgres = start_postgres(sockets, log=folder / "log", password="bench", options=options)
        stack.callback(postgres.server.kill)
        script = folder / "script.sql"
        script.write_text(STATEMENT)
        chain = _database(postgres, "chain", CHAIN_REVISION)
        log = _database(postgres, "log", "head")
        for count in clients:
            command = [str(binaries_folder() / "pgbench"), "-n", "-f", str(script), "-M", protocol, "-T", str(seconds)]
            command += ["-c", str(count), "-j", str(min(2, count)), "-h", str(sockets), "-p", str(postgres.port), "-U", "postgres"]
            slow = _transactions_per_second([*command, "chain"])
            with _sealing(log):
                fast = _transactions_per_second([*command, "log"])
            yield count, slow, fast
        for engine in (chain, log):
            with engine.connect() as connection:
                changed, events = connection.execute(
                    text("SELECT sum(n), (SELECT count(*) FROM audit_event WHERE action = 'bench.changed') FROM own")
                ).one()
            engine.dispose()
            assert changed == events, "an action has no event"


def _database(postgres: Postgres, name: str, revision: str) -> Engine:
    settings = Settings(
        environment=Environment.LOCAL,
        database_url=SecretStr(postgres.create_database(name)),
        secret_key=SecretStr("bench"),
        s3_bucket_name="unused",
        database_timeout_seconds=60,
    )
    engine = create_database_engine(settings)
    migrations.upgrade(engine, revision)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE own (id int PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50)"))
        connection.execute(text("INSERT INTO own SELECT id, 0 FROM generate_series(0, 99) AS id"))
    return engine


@contextmanager
def _sealing(engine: Engine) -> Iterator[None]:
    """Run the sealer each second until the block ends; then seal the rest."""
    finished = threading.Event()

    def seal() -> None:
        with Session(engine, autoflush=False, expire_on_commit=False) as session:
            signer = LogSigner.from_secret("bench")
            log, audit = AuditLogRepository(session), AuditRepository(session)
            copies = NoCopies()
            sealer = AuditSealer(log=log, audit=audit, copies=copies, signer=lambda: signer, bucket="bench")  # type: ignore[arg-type]  # no S3
            sealer.run()
            session.commit()

    def repeat() -> None:
        while not finished.wait(1.0):
            seal()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        finished.set()
        thread.join()
    seal()


def _transactions_per_second(pgbench: list[str]) -> float:
    """Run the command. The notices of the log's trigger are sent and read, as in production."""
    environment = {**os.environ, "PGPASSWORD": "bench"}
    finished = subprocess.run(pgbench, env=environment, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    found = re.search(r"tps = ([0-9.]+)", finished.stdout)
    assert found is not None
    return float(found[1])


if __name__ == "__main__":
    main()
