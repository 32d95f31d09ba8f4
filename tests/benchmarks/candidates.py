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
"""`peers/plain`."""
COPY = Size(routes=5, tables=1, schemas=3)
"""`peers/plain/file_routes.py` with `peers/plain/file_models.py`."""


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
        Candidate("plain-large", "plain_large", (_larger_peer("plain_large", routes=routes, models=models), wheels)),
        Candidate("plain-routes", "plain_routes_only", (_larger_peer("plain_routes_only", routes=routes, models=1), wheels)),
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
    root = _copied_peer(name, BUILD / name)
    contents._compile(root, root=root)
    return root


def _copied_peer(name: str, root: Path) -> Path:
    """Copy a peer, a module or a package, into an empty folder."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    if (PEERS / name).is_dir():
        shutil.copytree(PEERS / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(PEERS / f"{name}.py", root)
    return root


def _larger_peer(module: str, *, routes: int, models: int) -> Path:
    root = _copied_peer("plain", BUILD / module)
    package = root / "plain"
    for number in range(models):
        _copy(package, "file_models", number, {'TABLE = "file"': f'TABLE = "file_{number}"'})
    for number in range(routes):
        edits = {'PREFIX = "/api/v1/files"': f'PREFIX = "/api/v1/files-{number}"', ".file_models ": f".file_models_{number % models} "}
        _copy(package, "file_routes", number, edits)
    modules = [*(f"file_models_{number}" for number in range(models)), *(f"file_routes_{number}" for number in range(routes))]
    main = ["from plain import app, handler", *(f"from plain import {name}" for name in modules)]
    main += [f"app.include_router(file_routes_{number}.router)" for number in range(routes)]
    (root / f"{module}.py").write_text("\n".join(main) + "\n")
    contents._compile(root, root=root)
    return root


def _copy(package: Path, module: str, number: int, edits: dict[str, str]) -> None:
    source = (package / f"{module}.py").read_text()
    for old, new in edits.items():
        if source.count(old) != 1:
            raise ValueError(f"{module}.py has {old!r} not once")
        source = source.replace(old, new)
    (package / f"{module}_{number}.py").write_text(source)
