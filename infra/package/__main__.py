"""`python -m infra.package`: build the deployment package and print its size."""

import argparse
import json
import platform
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.package import archive, contents

LAMBDA_PYTHON = "3.13"
BUILD = contents.ROOT / "build"


@dataclass(frozen=True)
class Package:
    """A finished package: its tree, its zip and its digest. Sizes in bytes."""

    tree: str
    zip: str
    digest: str
    unzipped_bytes: int
    boto3_bytes: int
    zipped_bytes: int
    architecture: str
    python_version: str


def build(*, architecture: str, python_version: str, output: Path, authorities: Path | None = None) -> Package:
    """Build the package for `architecture` into `output`, and replace the previous one.

    `authorities` is a PEM bundle of RDS for a region that the npm package lacks.

    Raises PackageError, also for another Python version: the target could not use its bytecode.
    """
    tree = _empty_tree(output, python_version=python_version)
    contents.install_locked(tree, architecture=architecture, python_version=python_version)
    contents.prune(tree)
    contents.add_application(tree)
    contents.add_web_app(tree)
    contents.add_database_authorities(tree, additional=authorities)
    return _finish(tree, architecture=architecture, python_version=python_version)


def build_previews(*, architecture: str, python_version: str, output: Path) -> Package:
    """Build the package of the preview worker, as `build` does that of the application. boto3 comes with the runtime of Lambda."""
    tree = _empty_tree(output, python_version=python_version)
    contents.install_locked(tree, architecture=architecture, python_version=python_version, lock=contents.PREVIEW_LOCK)
    contents.prune_wheels(tree)
    contents.add_application(tree, contents.ROOT / "lambda_preview")
    return _finish(tree, architecture=architecture, python_version=python_version)


def _empty_tree(output: Path, *, python_version: str) -> Path:
    running = ".".join(platform.python_version_tuple()[:2])
    if running != python_version:
        raise contents.PackageError(
            f"the package for Python {python_version} must be built with Python {python_version}, not {running}: "
            f"make package PYTHON=python{python_version}"
        )
    tree = output / "tree"
    shutil.rmtree(output, ignore_errors=True)
    tree.mkdir(parents=True)
    return tree


def _finish(tree: Path, *, architecture: str, python_version: str) -> Package:
    contents.compile_bytecode(tree)
    output = tree.parent
    target = output / "package.zip"
    archive.write_zip(tree, target)
    package = Package(
        tree=str(tree),
        zip=str(target),
        digest=archive.digest_of(tree),
        unzipped_bytes=archive.size_bytes(tree),
        boto3_bytes=sum(archive.size_bytes(tree / name) for name in ("boto3", "botocore", "s3transfer") if (tree / name).is_dir()),
        zipped_bytes=target.stat().st_size,
        architecture=architecture,
        python_version=python_version,
    )
    (output / "package.json").write_text(json.dumps(asdict(package), indent=2) + "\n")
    return package


def main() -> int:
    """Build from the command line. Return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.package", description=__doc__)
    parser.add_argument("--architecture", choices=sorted(contents.MACHINES), default="arm64")
    parser.add_argument("--python-version", default=LAMBDA_PYTHON)
    parser.add_argument("--output", type=Path, default=None, help="folder to build in (build/lambda-ARCHITECTURE)")
    parser.add_argument("--authorities", type=Path, default=None, help="PEM bundle of RDS for a region that the npm package lacks")
    options = parser.parse_args()
    output = options.output or BUILD / f"lambda-{options.architecture}"
    try:
        package = build(
            architecture=options.architecture, python_version=options.python_version, output=output, authorities=options.authorities
        )
        previews = build_previews(
            architecture=options.architecture,
            python_version=options.python_version,
            output=output.with_name(f"previews-{options.architecture}"),
        )
    except contents.PackageError as error:
        print(f"package: {error}", file=sys.stderr)  # noqa: T201 - output of the command
        return 1
    megabytes = 1_000_000
    print(  # noqa: T201 - output of the command
        f"{package.zip}: {package.zipped_bytes / megabytes:.1f} MB zipped, {package.unzipped_bytes / megabytes:.1f} MB unzipped "
        f"({(package.unzipped_bytes - package.boto3_bytes) / megabytes:.1f} MB without boto3), digest {package.digest[:16]}\n"
        f"{previews.zip}: {previews.zipped_bytes / megabytes:.1f} MB zipped, {previews.unzipped_bytes / megabytes:.1f} MB unzipped, "
        f"digest {previews.digest[:16]}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
