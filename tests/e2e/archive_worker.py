"""The archive worker in a process of its own, which says how much memory it took: `archive_worker.py EVENT`."""

import json
import resource
import sys
from pathlib import Path

from lambda_app.handlers.archive import build_archives
from lambda_app.handlers.processes import worker_services

STATUS = Path("/proc/self/status")


def peak_kib() -> int:
    """Return the most memory this program had. Linux lets it inherit its parent's in `ru_maxrss`, but not in VmHWM."""
    if STATUS.exists():
        return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # bytes on macOS


if __name__ == "__main__":
    services = worker_services()
    # What it takes to have everything loaded, S3's client above all.
    services.store.head("archives/nothing")
    before = peak_kib()
    answer = build_archives(services, json.loads(sys.argv[1]), budget=lambda: 3600.0)
    print(json.dumps({"answer": answer, "baseline_kib": before, "peak_kib": peak_kib()}))
