"""PgBouncer in transaction mode with two server connections for each database, as a local substitute for RDS Proxy."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import make_url

from infra.local.postgres import Postgres
from infra.local.processes import LocalError, Server, base_environment, free_port
from tests.support.pinning import assert_nothing_pins
from tests.support.wire import WireProxy

IS_POOLED = os.environ.get("TEST_POOLER") == "1"
"""Whether the tests connect to PostgreSQL through PgBouncer (`make test-pooler`)."""
NOT_THROUGH_A_POOLER = {
    "test_reads_and_writes_succeed_after_the_server_closed_the_idle_connection": "the server's connections are the pooler's",
    "test_every_connection_of_a_pool_is_replaced_after_a_restart": "the server's connections are the pooler's",
    "test_file_deleted_during_the_download_request_is_refused": "it needs three servers at once",
    "test_recount_skips_an_account_that_changed_meanwhile": "it needs three servers at once",
    "test_email_change_and_insert_that_references_the_user_do_not_deadlock": "it needs three servers at once",
    "test_concurrent_lookups_reveal_no_more_than_sequential_ones": "it needs a hundred servers at once",
    "test_concurrent_probes_reveal_no_more_than_sequential_ones": "it needs a hundred servers at once",
    "test_name_filter_agrees_with_a_scan_of_all_names": "it makes its files in one statement of more than 16 kB, which pins",
    "test_copy_only_discards_the_connection": "it sends what pins",
    "test_notices_and_parameter_changes_in_a_reply_are_accepted": "it sends what pins",
}
"""Parts of the names of tests that cannot run through a pooler, and the reasons."""
FINDER = Path(__file__).parents[2] / "infra/local/find-pgbouncer"
SERVER_CONNECTIONS = 2

CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={upstream_port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {servers}
min_pool_size = {servers}
max_client_conn = 1000
; Use another server connection for each transaction, if one is free.
server_round_robin = 1
; Reconnect to a restarted server without delay.
server_login_retry = 0.1
query_wait_timeout = 4
log_connections = 0
log_disconnections = 0
"""


def find_pgbouncer() -> str | None:
    """Return the path of the command, or None when PgBouncer is not available."""
    found = subprocess.run([FINDER], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


class Pooler:
    """A running PgBouncer in front of the server of `upstream_url`, to which it connects as the user of the URL."""

    def __init__(self, folder: Path, upstream_url: str, *, upstream_port: int | None = None) -> None:
        url = make_url(upstream_url)
        self._folder = folder
        self.port = free_port()
        users = folder / "users.txt"
        users.write_text(f'"{url.username}" "{url.password}"\n')
        options = {"upstream_port": upstream_port or url.port, "port": self.port, "users": users, "servers": SERVER_CONNECTIONS}
        (folder / "pgbouncer.ini").write_text(CONFIGURATION.format(**options))
        self._server = self._started()

    def url_for(self, url: str) -> str:
        """Return `url` with the address of the pooler."""
        return make_url(url).set(host="127.0.0.1", port=self.port).render_as_string(hide_password=False)

    def restart(self) -> None:
        """Kill the pooler and start it again at the same address."""
        self._server.kill()
        self._server = self._started()

    def stop(self) -> None:
        """Stop the pooler."""
        self._server.stop()

    def _started(self) -> Server:
        command = find_pgbouncer()
        if command is None:
            raise LocalError("PgBouncer is not available")
        as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
        log = self._folder / "log"
        server = Server(
            "PgBouncer",
            [command, *as_user, self._folder / "pgbouncer.ini"],
            log=log,
            environment=base_environment(),
            stop_signal="SIGINT",
        )
        server.wait_until(lambda: "process up" in log.read_text(errors="replace"))
        return server


@contextmanager
def running_pooler(upstream_url: str, *, upstream_port: int | None = None) -> Iterator[Pooler]:
    """Run PgBouncer in a temporary folder; both are deleted afterwards."""
    with tempfile.TemporaryDirectory(prefix="we-upload-pooler-") as name:
        folder = Path(name)
        # If the tests run as root, PgBouncer runs as another user, who must be able to read its configuration.
        folder.chmod(0o755)
        pooler = Pooler(folder, upstream_url, upstream_port=upstream_port)
        try:
            yield pooler
        finally:
            pooler.stop()


class Line:
    """The connection from the application to PostgreSQL: a direct one."""

    def url_for(self, url: str) -> str:
        """Return the URL that the application uses for the database at `url`."""
        return url

    @contextmanager
    def sniffed(self) -> Iterator[None]:
        """Check the protocol messages during the block; a direct connection has no check."""
        yield


class PooledLine(Line):
    """The connection through PgBouncer. The proxy in front of it records the messages that RDS Proxy would receive."""

    def __init__(self, sniffer: WireProxy) -> None:
        self._sniffer = sniffer

    def url_for(self, url: str) -> str:
        """Return `url` with the address of the recording proxy."""
        return self._sniffer.url_for(url)

    @contextmanager
    def sniffed(self) -> Iterator[None]:
        """Fail after the block if a message would pin the connection in RDS Proxy."""
        with self._sniffer.count() as counted:
            yield
        assert_nothing_pins(counted.messages)


@contextmanager
def database_line(postgres: Postgres) -> Iterator[Line]:
    """Provide a direct connection, or with `TEST_POOLER` one through PgBouncer."""
    if not IS_POOLED:
        yield Line()
        return
    url = postgres.url("postgres")
    with running_pooler(url) as pooler, WireProxy(pooler.url_for(url)) as sniffer:
        yield PooledLine(sniffer)
