"""A directory in front of several cells, as docs/scaling.md describes it: a simulation of the path beyond one database."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import cycle
from urllib.parse import parse_qs

import httpx

SIGN_IN = re.compile(r"(/api/v1)?/login/token")
REGISTRATION = re.compile(r"/api/v1/users/?")
LINK = re.compile(r"/s/([^/]+)(/.*)?")
FILE = re.compile(r"/(?:p|api/v1/files/download)/([0-9a-f-]{36})")


@dataclass
class Directory:
    """Which cell has an owner, a link or a file. It holds hashes of addresses and of link tokens, and no other data."""

    owners: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


class DirectoryTransport(httpx.BaseTransport):
    """Sends each request to the cell of its owner, link or file.

    A request with an access token needs no look-up: each cell signs with keys of its own, so the key id of the token names the cell.
    """

    def __init__(self, cells: Mapping[str, httpx.BaseTransport]) -> None:
        self.cells = dict(cells)
        self.directory = Directory()
        self.unavailable: set[str] = set()
        self.served: list[str] = []
        """The cell of each request."""
        self._keys: dict[str, str] = {}
        self._next = cycle(self.cells)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Route one request, and learn from its response."""
        name = self._cell_of(request)
        if name in self.unavailable:
            return httpx.Response(503, json={"code": "unavailable", "detail": "This cell does not respond"})
        self.served.append(name)
        response = self.cells[name].handle_request(request)
        response.read()
        self._learn(name, request, response)
        return response

    def _cell_of(self, request: httpx.Request) -> str:
        path = request.url.path
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer" and (cell := self._keys.get(_key_id(token))):
            return cell
        if SIGN_IN.fullmatch(path):
            (email,) = parse_qs(request.content.decode()).get("username", [""])
            # An unknown address goes to any cell, which refuses it as each would.
            return self.directory.owners.get(_digest(email), next(iter(self.cells)))
        if REGISTRATION.fullmatch(path) and request.method == "POST":
            # The address is taken before the account is created, so that two cells never have the same one.
            return self.directory.owners.setdefault(_digest(json.loads(request.content)["email"]), next(self._next))
        if found := LINK.fullmatch(path):
            return self.directory.links.get(_digest(found[1]), next(iter(self.cells)))
        if found := FILE.fullmatch(path):
            return self.directory.files.get(found[1], next(iter(self.cells)))
        return next(iter(self.cells))

    def _learn(self, name: str, request: httpx.Request, response: httpx.Response) -> None:
        if not response.is_success or not response.content or "json" not in response.headers.get("content-type", ""):
            return
        path, body = request.url.path, response.json()
        if SIGN_IN.fullmatch(path):
            self._keys[_key_id(body["access_token"])] = name
        elif path == "/api/v1/shares" and request.method == "POST":
            self.directory.links[_digest(body["url"].rpartition("/")[2])] = name
        elif path == "/api/v1/files/upload":
            self.directory.files[body["file_id"]] = name


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().lower().encode() if "@" in text else text.encode()).hexdigest()


def _key_id(token: str) -> str:
    header = token.partition(".")[0]
    try:
        return str(json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"])
    except (ValueError, KeyError):
        return ""
