"""A database that does not exist: it accepts every sign-in and statement, and returns no rows.

Before a SnapStart snapshot, requests are rehearsed with it (docs/adr/0031-rehearsed-snapshots.md): the snapshot then contains what the
first requests load, without a connection to the database.
"""

from lambda_app.db.connection import WireConnection
from lambda_app.db.endpoint import Endpoint
from lambda_app.db.messages import EXECUTE
from lambda_app.db.transport import Transport

_SIGNED_IN = b"R\0\0\0\x08\0\0\0\0" + b"Z\0\0\0\x05I"
"""AuthenticationOk, ReadyForQuery."""
_NO_ROWS = b"1\0\0\0\x04" + b"2\0\0\0\x04" + b"T\0\0\0\x06\0\0" + b"C\0\0\0\x0dSELECT 0\0"
"""ParseComplete, BindComplete, RowDescription without columns, CommandComplete."""
_READY = b"Z\0\0\0\x05I"


class RehearsalTransport(Transport):
    """A stream that answers each flush itself."""

    def __init__(self) -> None:
        self.timeout_seconds = 1.0
        self._unread, self._unsent, self._position = b"", b"", 0

    def flush(self) -> None:
        """Answer what was written since the last flush."""
        statements = self._unsent.count(EXECUTE)
        self._unread = self._unread[self._position :] + (_NO_ROWS * statements + _READY if statements else _SIGNED_IN)
        self._position, self._unsent = 0, b""

    def has_unread_data(self) -> bool:
        """Whether the stream has ended: never."""
        return False

    def close(self) -> None:
        """Do nothing: there is no socket."""


class RehearsalEndpoint(Endpoint):
    """An endpoint whose connections lead nowhere."""

    def connect(self, *, timeout_seconds: float | None = None) -> WireConnection:  # noqa: ARG002 - the signature of an endpoint
        """Return a connection to no server."""
        return WireConnection(
            open_transport=RehearsalTransport,
            user=self.user,
            password=str,
            database=self.database,
            application_name="rehearsal",
        )
