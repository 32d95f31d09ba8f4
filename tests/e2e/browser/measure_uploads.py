"""Compares an upload by the web app with a plain loop of `fetch` and presigned URLs, in one browser: `make bench-browser`."""

import os
from collections.abc import Callable
from typing import Any

from infra.local.workers import running_workers
from tests.e2e.browser.conftest import Site
from tests.e2e.browser.steps import Results, Steps, failures, sign_in
from tests.support.accounts import make_account

MIB = 1024**2
SIZE_MIB = int(os.environ.get("BROWSER_MIB", "1024"))
ROUNDS = int(os.environ.get("BROWSER_ROUNDS", "2"))
LANES = 4
TIMEOUT_MS = 600_000
APP_SHARE_MIN = 0.8
"""The app computes a checksum of the whole file and draws its progress; it must still reach this share of the plain loop's throughput."""


def test_app_sends_a_large_file_nearly_as_fast_as_a_plain_loop(site: Site, visit: Callable[[dict[str, Any]], Results]) -> None:
    account = make_account(site.services)
    file = {"name": "large.bin", "size": SIZE_MIB * MIB}
    steps: Steps = [*sign_in(account.email, account.password), {"see": "Drop your first files here"}]
    for number in range(1, ROUNDS + 1):
        steps += [
            {"plain": {"url": site.url, "headers": account.headers, "lanes": LANES, "file": file}},
            *({"time": "app"}, {"upload": "Choose files" if number == 1 else "Upload files", "files": [file]}),
            *({"see": "1 file verified" if number == 1 else f"All {number} verified", "timeout": TIMEOUT_MS}, {"time": "app"}),
        ]
    with running_workers(site.services):
        results = visit({"large": {"url": f"{site.url}/", "steps": steps}})

    assert failures(results) == {}
    plain, app = results["large"]["times"]["plain"], results["large"]["times"]["app"]
    share = min(plain) / min(app)
    print(f"\n{SIZE_MIB} MiB: plain loop {plain} s, app {app} s, share of the throughput {share:.2f}, load {os.getloadavg()[0]:.0f}")
    assert share >= APP_SHARE_MIN
