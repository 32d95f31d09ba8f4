"""The measured applications, laid out as Lambda unpacks them: the locked wheels and each candidate's modules, compiled to bytecode."""

import hashlib
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from infra.package import contents

BUILD = contents.ROOT / "build" / "bench"
PEERS = Path(__file__).parent / "peers"
PLAIN_ROUTES = 7
"""Routes of `peers/plain.py`."""
COPIED_ROUTES = 5
"""Routes of `peers/plain_routes.py`."""
MACHINES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Candidate:
    """A handler to measure: `module.handler`, imported from `roots`."""

    name: str
    module: str
    roots: tuple[Path, ...]


def build_candidates(*, compare: Path | None = None) -> list[Candidate]:
    """Build this application, as `ours`, and the peers. `compare` is another checkout to measure in the same run, as `before`."""
    wheels = _wheels()
    ours = [("ours", contents.ROOT)] + ([] if compare is None else [("before", compare)])
    candidates = [Candidate(name, "lambda_app.main", (_application(name, checkout), wheels)) for name, checkout in ours]
    plain, bare = (Candidate(name, name, (_peer(name), wheels)) for name in ("plain", "bare"))
    floor = Candidate("floor", "floor", (_peer("floor"), BUILD / "ours", wheels))
    return [*candidates, plain, bare, floor]


def build_larger_peers(*, routes: int) -> list[Candidate]:
    """Build the plain app with at most `routes` routes, by copies of the routes of its files.

    In `plain-large` each copy has a table and schemas of its own, as an application of that size has. In `plain-routes` all share one
    table and its schemas.
    """
    copies = max(1, (routes - PLAIN_ROUTES) // COPIED_ROUTES)
    wheels = _wheels()
    return [
        Candidate(name, f"peers.{name.replace('-', '_')}", (_larger_peer(name, copies, tables), wheels))
        for name, tables in (("plain-large", copies), ("plain-routes", 1))
    ]


def _wheels() -> Path:
    """Install the wheels of the package for this machine and Python version, unless they were installed from the same lock file."""
    version = ".".join(platform.python_version_tuple()[:2])
    tree = BUILD / f"wheels-{hashlib.sha256(contents.LOCK.read_bytes() + version.encode()).hexdigest()[:12]}"
    if not tree.is_dir():
        for old in BUILD.glob("wheels-*"):
            shutil.rmtree(old)
        partial = BUILD / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        contents.install_locked(partial, architecture=MACHINES[platform.machine()], python_version=version)
        contents.prune(partial)
        contents.add_application(partial)
        contents.compile_bytecode(partial)
        shutil.rmtree(partial / "lambda_app")
        partial.rename(tree)
    return tree


def _application(name: str, checkout: Path) -> Path:
    root = BUILD / name
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    contents.add_application(root, checkout / "lambda_app")
    contents._compile(root / "lambda_app", root=root)
    return root


def _peer(name: str) -> Path:
    root = BUILD / name
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    shutil.copy(PEERS / f"{name}.py", root)
    contents._compile(root, root=root)
    return root


def _larger_peer(name: str, copies: int, tables: int) -> Path:
    root = BUILD / name
    shutil.rmtree(root, ignore_errors=True)
    package = root / "peers"
    package.mkdir(parents=True)
    shutil.copy(PEERS / "plain.py", package)
    models, routes = (PEERS / "plain_models.py").read_text(), (PEERS / "plain_routes.py").read_text()
    main = ["from .plain import app, handler"]
    for number in range(copies):
        (package / f"models_{number % tables}.py").write_text(models)
        (package / f"routes_{number}.py").write_text(routes.replace("plain_models", f"models_{number % tables}"))
        main += [f"from . import routes_{number}", f"app.include_router(routes_{number}.router)"]
    (package / f"{name.replace('-', '_')}.py").write_text("\n".join(main) + "\n")
    contents._compile(package, root=root)
    return root
