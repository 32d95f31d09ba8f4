"""The archive worker as a program that reports its memory use: `archive_worker.py EVENT`."""

import json
import resource
import sys
from pathlib import Path

from lambda_app.handlers.archive import build_archives
from lambda_app.handlers.processes import worker_services

STATUS = Path("/proc/self/status")


def peak_kib() -> int:
    """Return the peak memory of this program in KiB. On Linux `ru_maxrss` can include the parent's peak; VmHWM does not."""
    if STATUS.exists():
        return next(int(line.split()[1]) for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # bytes on macOS


if __name__ == "__main__":
    services = worker_services()
    # Loads everything that the worker needs, above all the S3 client, before the baseline is measured.
    services.store.head("archives/nothing")
    baseline = peak_kib()
    response = build_archives(services, json.loads(sys.argv[1]), budget=lambda: 3600.0)
    print(json.dumps({"response": response, "baseline_kib": baseline, "peak_kib": peak_kib()}))
