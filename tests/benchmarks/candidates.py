"""The measured applications, laid out as Lambda unpacks them: the locked wheels and each candidate's modules, compiled to bytecode."""

import hashlib
import platform
import shutil
from dataclasses import dataclass
from pathlib import Path

from infra.package import contents

BUILD = contents.ROOT / "build" / "bench"
PEERS = Path(__file__).parent / "peers"
MACHINES = {"x86_64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Candidate:
    """A handler to measure: `module.handler`, imported from `roots`."""

    name: str
    module: str
    roots: tuple[Path, ...]


@dataclass(frozen=True)
class Size:
    """How much an application builds at its start."""

    routes: int
    tables: int
    schemas: int
    """Models of pydantic."""


PLAIN = Size(routes=7, tables=2, schemas=4)
"""`peers/plain.py`."""
COPY = Size(routes=5, tables=1, schemas=3)
"""`peers/plain_routes.py` with `peers/plain_models.py`."""


def build_candidates(*, compare: Path | None = None) -> list[Candidate]:
    """Build this application, as `ours`, and the peers. `compare` is another checkout to measure in the same run, as `before`."""
    wheels = _wheels()
    ours = [("ours", contents.ROOT)] + ([] if compare is None else [("before", compare)])
    candidates = [Candidate(name, "lambda_app.main", (_application(name, checkout), wheels)) for name, checkout in ours]
    plain, bare = (Candidate(name, name, (_peer(name), wheels)) for name in ("plain", "bare"))
    floor = Candidate("floor", "floor", (_peer("floor"), BUILD / "ours", wheels))
    return [*candidates, plain, bare, floor]


def build_larger_peers(size: Size) -> list[Candidate]:
    """Build the plain app twice more, as large as `size` and no larger, by copies of the modules of its files.

    `plain-large` has that many routes, tables and schemas. `plain-routes` has as many routes, which share one table and its schemas.
    """
    routes = max(1, (size.routes - PLAIN.routes) // COPY.routes)
    models = max(1, min((size.tables - PLAIN.tables) // COPY.tables, (size.schemas - PLAIN.schemas) // COPY.schemas))
    wheels = _wheels()
    return [
        Candidate("plain-large", "peers.plain_large", (_larger_peer("plain_large", routes=routes, models=models), wheels)),
        Candidate("plain-routes", "peers.plain_routes_only", (_larger_peer("plain_routes_only", routes=routes, models=1), wheels)),
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


def _larger_peer(module: str, *, routes: int, models: int) -> Path:
    root = BUILD / module
    shutil.rmtree(root, ignore_errors=True)
    package = root / "peers"
    package.mkdir(parents=True)
    shutil.copy(PEERS / "plain.py", package)
    imports, inclusions = [f"models_{number}" for number in range(models)], []
    for number in range(models):
        shutil.copy(PEERS / "plain_models.py", package / f"models_{number}.py")
    for number in range(routes):
        source = (PEERS / "plain_routes.py").read_text().replace("plain_models", f"models_{number % models}")
        (package / f"routes_{number}.py").write_text(source)
        imports.append(f"routes_{number}")
        inclusions.append(f"app.include_router(routes_{number}.router)")
    main = ["from .plain import app, handler", *(f"from . import {name}" for name in imports), *inclusions]
    (package / f"{module}.py").write_text("\n".join(main) + "\n")
    contents._compile(package, root=root)
    return root
