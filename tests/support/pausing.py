"""A TCP proxy in front of PostgreSQL that behaves as a paused Aurora cluster: the first connection starts it, and it accepts later."""

import socket
import threading
import time
from contextlib import suppress
from typing import Self

from sqlalchemy.engine import make_url

CHUNK_BYTES = 64 * 1024


class PausingProxy:
    """Passes connections on. While it is paused or starting, it closes them, or holds them without an answer until it has started."""

    def __init__(self, upstream: str, *, start_seconds: float, holds: bool = False) -> None:
        url = make_url(upstream)
        self._upstream = (str(url.host), url.port or 5432)
        self._start_seconds = start_seconds
        self._holds = holds
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._is_paused = False
        self._ready_at = 0.0
        self.refused = 0
        """Number of connections that it has not accepted."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._close_all()

    def url_for(self, url: str) -> str:
        """Return `url` with the address of the proxy."""
        port = self._listener.getsockname()[1]
        return make_url(url).set(host="127.0.0.1", port=port).render_as_string(hide_password=False)

    @property
    def is_paused(self) -> bool:
        """Whether it is paused or starting."""
        with self._lock:
            return self._is_paused and not 0 < self._ready_at <= time.monotonic()

    def pause(self) -> None:
        """Close all connections, and accept none until one has been attempted and the time to start has passed."""
        with self._lock:
            self._is_paused, self._ready_at = True, 0.0
        self._close_all()

    def _close_all(self) -> None:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for ends in pairs:
            for end in ends:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _seconds_to_wait(self) -> float:
        with self._lock:
            if not self._is_paused:
                return 0.0
            if not self._ready_at:
                self._ready_at = time.monotonic() + self._start_seconds
            left = self._ready_at - time.monotonic()
            self._is_paused = left > 0
            return max(0.0, left)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        if wait := self._seconds_to_wait():
            with self._lock:
                self.refused += 1
            if not self._holds:
                client.close()
                return
            time.sleep(wait)
            self._seconds_to_wait()
        server = socket.create_connection(self._upstream)
        pair = (client, server)
        with self._lock:
            self._pairs.append(pair)
        with client, server:
            back = threading.Thread(target=self._copy, args=(server, client, pair), daemon=True)
            back.start()
            self._copy(client, server, pair)
            back.join()

    def _copy(self, source: socket.socket, target: socket.socket, pair: tuple[socket.socket, socket.socket]) -> None:
        with suppress(OSError):
            while chunk := source.recv(CHUNK_BYTES):
                target.sendall(chunk)
        with self._lock:
            if pair in self._pairs:
                self._pairs.remove(pair)
        for end in pair:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
