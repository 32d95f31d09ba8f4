"""`python -m tests.benchmarks.clients`: uploads by the command `we-upload`, beside `aws s3 cp`, s5cmd and rclone to the same object store.

The peers send objects to the S3 emulator of a local run, with the default settings of each. `we-upload` declares its files to the API,
which verifies them. The candidates alternate; the best round of each counts. The store is emptied after each. Besides the seconds, the
tables have the processor seconds of the client, the emulator, the API with its workers, and PostgreSQL, because all of them share the
processors. A peer that is neither on PATH nor given is left out:

    python -m tests.benchmarks.clients --peer aws=/path/to/aws --files 1000 --large-mib 1024
"""

import argparse
import json
import os
import resource
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import boto3  # type: ignore[import-untyped]  # ships no type information
import psutil
from botocore.config import Config  # type: ignore[import-untyped]  # ships no type information

from infra.local.processes import free_port
from infra.local.state import CHECKOUT, SUPERUSER_EMAIL, Folders, load_secrets

SOURCE = CHECKOUT / "clients" / "python" / "src"
PEERS = ("aws", "s5cmd", "rclone")
SERVERS = ("emulator", "API", "PostgreSQL")
START_SECONDS = 120
IDLE_WAIT_SECONDS = 300
IDLE_PROCESSOR_SECONDS = 0.1
"""Processor time of a second in which the servers only look for work."""
MIB = 1024**2


@dataclass(frozen=True)
class Site:
    """A local run: the address of the API, and the environment for the command and for S3 clients."""

    address: str
    endpoint_url: str
    bucket: str
    environment: dict[str, str]
    run: psutil.Process

    def processor_seconds(self) -> dict[str, float]:
        """Return the processor seconds of the servers so far, by part."""
        spent = dict.fromkeys(SERVERS, 0.0)
        for process in (self.run, *self.run.children(recursive=True)):
            try:
                times = process.cpu_times()
                command = " ".join(process.cmdline())
            except psutil.NoSuchProcess:
                continue
            part = "emulator" if "emulator.py" in command else "API" if process.pid == self.run.pid else "PostgreSQL"
            spent[part] += times.user + times.system
            if process.name() == "postgres":
                # Of the processes of connections that have ended.
                spent[part] += times.children_user + times.children_system
        return spent

    def empty(self) -> None:
        """Wait until the server has verified all files, delete all objects, and wait until the servers are idle.

        So the next candidate finds the same state, and does not compete with work that the one before has left.
        """
        pending = [sys.executable, "-m", "we_upload", "ls", "--status", "pending", "--limit", "1"]
        while subprocess.run(pending, env=self.environment, check=True, capture_output=True).stdout:
            time.sleep(0.5)
        keys = {"aws_access_key_id": "AWS_ACCESS_KEY_ID", "aws_secret_access_key": "AWS_SECRET_ACCESS_KEY", "region_name": "AWS_REGION"}
        session = boto3.Session(**{name: self.environment[variable] for name, variable in keys.items()})
        s3 = session.client("s3", endpoint_url=self.endpoint_url, config=Config(proxies={}, s3={"addressing_style": "path"}))
        while found := s3.list_objects_v2(Bucket=self.bucket).get("Contents"):
            s3.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": item["Key"]} for item in found], "Quiet": True})
        busy = sum(self.processor_seconds().values())
        for _ in range(IDLE_WAIT_SECONDS):
            time.sleep(1)
            before, busy = busy, sum(self.processor_seconds().values())
            if busy - before < IDLE_PROCESSOR_SECONDS:
                return
        raise RuntimeError("The servers do not become idle")


@dataclass
class Sample:
    """The rounds of a candidate: seconds, and processor seconds by part."""

    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[dict[str, float]] = field(default_factory=list)


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """Run the API and its servers in a temporary folder, with a signed-in command."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    quota = {"USER_QUOTA_FILES": "10000000", "USER_QUOTA_BYTES": str(1024**4), "USER_DELETION_BYTES": str(1024**5)}
    environment = {**os.environ, **quota, "WE_UPLOAD_DATA": str(folder / "data"), "PORT": str(port), "LOG_LEVEL": "WARNING"}
    with (folder / "log").open("w") as log:
        run = subprocess.Popen([sys.executable, "-m", "infra.local"], cwd=CHECKOUT, env=environment, stdout=log, stderr=log)
    try:
        if not _is_up(f"{address}/health/db", run):
            raise RuntimeError(f"The servers did not start:\n{(folder / 'log').read_text()[-2000:]}")
        folders = Folders(folder / "data")
        settings = json.loads(folders.environment.read_text())
        kept = load_secrets(folders)
        own = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SOURCE),
            "HOME": str(folder),
            "AWS_ACCESS_KEY_ID": kept.s3_key_id,
            "AWS_SECRET_ACCESS_KEY": kept.s3_secret,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        login = [sys.executable, "-m", "we_upload", "login", address, "--email", SUPERUSER_EMAIL]
        subprocess.run(login, input=kept.superuser_password.encode(), env=own, check=True, capture_output=True)
        yield Site(address, settings["AWS_ENDPOINT_URL"], settings["S3_BUCKET_NAME"], own, psutil.Process(run.pid))
    finally:
        run.send_signal(signal.SIGINT)
        run.wait(60)


def _is_up(url: str, run: "subprocess.Popen[bytes]") -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and run.poll() is None:
        try:
            opener.open(url, timeout=5).close()
        except OSError:
            time.sleep(0.2)
        else:
            return True
    return False


def commands(site: Site, peers: dict[str, str]) -> dict[str, Callable[[Path], list[str]]]:
    """Return a function for each candidate that returns the command to upload a folder or a file."""

    def target() -> str:
        return f"{site.bucket}/bench/{secrets.token_hex(4)}/"

    def own(path: Path) -> list[str]:
        return [sys.executable, "-m", "we_upload", "up", str(path)]

    def own_without_waiting(path: Path) -> list[str]:
        return [*own(path), "--no-wait"]

    def aws(path: Path) -> list[str]:
        recursive = ["--recursive"] if path.is_dir() else []
        return [
            peers["aws"],
            "s3",
            "cp",
            *recursive,
            "--only-show-errors",
            "--endpoint-url",
            site.endpoint_url,
            str(path),
            f"s3://{target()}",
        ]

    def s5cmd(path: Path) -> list[str]:
        return [
            peers["s5cmd"],
            "--log",
            "error",
            "--endpoint-url",
            site.endpoint_url,
            "cp",
            f"{path}/" if path.is_dir() else str(path),
            f"s3://{target()}",
        ]

    def rclone(path: Path) -> list[str]:
        remote = f":s3,provider=Other,env_auth=true,region=us-east-1,no_check_bucket=true,endpoint='{site.endpoint_url}':{target()}"
        return [peers["rclone"], "--config", os.devnull, "copy", str(path), remote]

    known = {"we-upload": own, "we-upload --no-wait": own_without_waiting, "aws": aws, "s5cmd": s5cmd, "rclone": rclone}
    return {name: command for name, command in known.items() if name.startswith("we-upload") or name in peers}


def measure(site: Site, candidates: dict[str, Callable[[Path], list[str]]], path: Path, *, rounds: int) -> dict[str, Sample]:
    """Upload `path` by each candidate in turn, in `rounds` rounds."""
    samples = {name: Sample() for name in candidates}
    for number in range(rounds):
        names = list(candidates)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            servers, before = site.processor_seconds(), resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.perf_counter()
            run = subprocess.run(candidates[name](path), env=site.environment, capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - began
            if run.returncode:
                raise RuntimeError(f"{name} failed: {run.stderr[-2000:]}")
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            samples[name].seconds.append(seconds)
            spent = {part: end - servers[part] for part, end in site.processor_seconds().items()}
            spent["client"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            samples[name].processor_seconds.append(spent)
            print(f"  {name}: {seconds:.1f} s {spent}", file=sys.stderr, flush=True)
            site.empty()
    return samples


def table(title: str, samples: dict[str, Sample], *, unit: str, amount: float) -> str:
    """Return the rows of a measurement as Markdown."""
    bests = {name: min(sample.seconds) for name, sample in samples.items()}
    best_peer = min((seconds for name, seconds in bests.items() if not name.startswith("we-upload")), default=None)
    parts = ("client", *SERVERS)
    heads = [title, "s, each round", unit, "beside aws", "beside the best peer", *(f"{part}, processor s" for part in parts)]
    lines = [f"| {' | '.join(heads)} |"]
    lines.append("| --- |" + " ---: |" * (4 + len(parts)))
    for name, sample in samples.items():
        rounds = ", ".join(f"{seconds:.1f}" for seconds in sample.seconds)
        ratios = [f"{peer / bests[name]:.2f}x" if peer else "" for peer in (bests.get("aws"), best_peer)]
        spent = [f"{min(of_round[part] for of_round in sample.processor_seconds):.1f}" for part in parts]
        cells = [name, rounds, f"{amount / bests[name]:.0f}", *ratios, *spent]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PATH", help="aws, s5cmd or rclone, and its program")
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--file-bytes", type=int, default=10_000)
    parser.add_argument("--large-mib", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    peers = {name: found for name in PEERS if (found := shutil.which(name))} | dict(peer.split("=", 1) for peer in options.peer)
    with tempfile.TemporaryDirectory(prefix="we-upload-clients-") as name:
        folder = Path(name)
        many, large = folder / "many", folder / "large.bin"
        many.mkdir()
        for number in range(options.files):
            (many / f"{number:05}.bin").write_bytes(os.urandom(options.file_bytes))
        with large.open("wb") as file:
            for number in range(options.large_mib):
                file.write(number.to_bytes(8, "big") * (MIB // 8))
        with running_site(folder) as site:
            candidates = commands(site, peers)
            if options.files:
                samples = measure(site, candidates, many, rounds=options.rounds)
                print(table(f"{options.files:,} files of {options.file_bytes:,} bytes", samples, unit="files/s", amount=options.files))
            if options.large_mib:
                # Waiting makes a difference for small files only.
                candidates.pop("we-upload --no-wait", None)
                samples = measure(site, candidates, large, rounds=options.rounds)
                print(table(f"one file of {options.large_mib:,} MiB", samples, unit="MiB/s", amount=options.large_mib))
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")


if __name__ == "__main__":
    main(sys.argv[1:])
