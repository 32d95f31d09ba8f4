"""What a local run keeps between starts: where things lie, the secrets made once, and the lock that one run holds."""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.local.processes import LocalError

CHECKOUT = Path(__file__).resolve().parents[2]
SUPERUSER_EMAIL = "admin@example.com"


@dataclass(frozen=True)
class Folders:
    """Where a run keeps its data; all of it below one folder that `make clean` removes."""

    root: Path

    @property
    def postgres(self) -> Path:
        """The data of PostgreSQL."""
        return self.root / "postgres"

    @property
    def objects(self) -> Path:
        """The objects of the S3 emulator."""
        return self.root / "s3"

    @property
    def logs(self) -> Path:
        """The servers' logs of the latest run."""
        return self.root / "logs"

    @property
    def temporary(self) -> Path:
        """Files that mean nothing once the run is over."""
        return self.root / "tmp"


@dataclass(frozen=True)
class Secrets:
    """Secrets of this checkout, made at random by its first run."""

    secret_key: str
    postgres_password: str
    superuser_password: str


def make_secrets() -> Secrets:
    """Return new random secrets."""
    return Secrets(secrets.token_urlsafe(48), secrets.token_urlsafe(24), secrets.token_urlsafe(12))


def kept_secrets(folders: Folders) -> Secrets:
    """Return the secrets of this checkout; the first call makes them and writes them where only the owner reads.

    Raises LocalError when the file is not what we wrote.
    """
    path = folders.root / "secrets.json"
    try:
        return Secrets(**json.loads(path.read_text()))
    except FileNotFoundError:
        made = make_secrets()
    except (ValueError, TypeError):
        raise LocalError(f"{path} is damaged, and with it the password of the local database. Start afresh with: make clean") from None
    # Complete before it gets its name: half a file would lock us out of the database.
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(asdict(made), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    return made


@contextmanager
def exclusive_lock(path: Path, *, refusal: str) -> Iterator[None]:
    """Hold the lock file `path`; the kernel lets go of it however we end, so that it is never stale.

    Raises LocalError with `refusal` (`{pid}` in it becomes the holder's process id) when another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise LocalError(refusal.format(pid=file.read().strip() or "unknown")) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
