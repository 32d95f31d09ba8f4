"""What is measured, laid out as Lambda unpacks it: the locked wheels and each candidate's own modules, all of it compiled."""

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
    """A handler to measure: `MODULE.handler`, found on `roots`."""

    name: str
    module: str
    roots: tuple[Path, ...]


def build_candidates(*, beside: Path | None = None) -> list[Candidate]:
    """Build ours and the peers; `beside` is another checkout whose application is measured in the same run, for before and after."""
    wheels = _wheels()
    ours = [("ours", contents.ROOT)] + ([] if beside is None else [("before", beside)])
    candidates = [Candidate(name, "lambda_app.main", (_application(name, checkout), wheels)) for name, checkout in ours]
    return [*candidates, *(Candidate(name, name, (_peer(name), wheels)) for name in ("plain", "bare"))]


def _wheels() -> Path:
    """Install the wheels of the package, for this machine and the Python that runs this; again only when their lock changes."""
    version = ".".join(platform.python_version_tuple()[:2])
    tree = BUILD / f"wheels-{hashlib.sha256(contents.LOCK.read_bytes() + version.encode()).hexdigest()[:12]}"
    if not tree.is_dir():
        for old in BUILD.glob("wheels-*"):
            shutil.rmtree(old)
        making = BUILD / "making"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        contents.install_locked(making, architecture=MACHINES[platform.machine()], python_version=version)
        contents.prune(making)
        contents.add_application(making)
        contents.compile_bytecode(making)
        shutil.rmtree(making / "lambda_app")
        making.rename(tree)
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
