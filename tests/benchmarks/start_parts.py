"""Processor time of a start without a snapshot, by part: imports in the order of the layers, the routes, and the garbage collector."""

import json
import subprocess

from tests.benchmarks.candidates import Candidate
from tests.benchmarks.processes import command_for, environment_for
from tests.benchmarks.testbed import Testbed

PARTS = {
    "ours": {
        "frameworks": ("fastapi", "sqlalchemy.orm", "sqlalchemy.dialects.postgresql", "pg8000", "mangum", "jose.jwt", "pydantic.v1"),
        "core": ("lambda_app.core.settings", "lambda_app.core.mail", "lambda_app.core.security.tokens"),
        "models": ("lambda_app.models",),
        "schemas": ("lambda_app.schemas.*",),
        "repositories": ("lambda_app.repositories.*",),
        "services": ("lambda_app.factory",),
        "routers": ("lambda_app.application",),
        "the application with its routes": ("lambda_app.main",),
    },
    "plain": {
        "frameworks": ("fastapi", "sqlalchemy.orm", "sqlalchemy.dialects.postgresql", "pg8000", "mangum", "jose.jwt", "pydantic.v1"),
        "boto3, passlib": ("boto3", "botocore.config", "passlib.context"),
        "the application with its routes": ("plain",),
    },
}
"""The modules of each part, by candidate. `.*` stands for all modules below a package."""

_CHILD = """
import gc, json, sys, time
parts = json.loads(sys.argv[1])
spent, collected, started = {}, 0.0, 0.0
def on_collection(phase, _):
    global collected, started
    if phase == "start":
        started = time.process_time()
    else:
        collected += time.process_time() - started
gc.callbacks.append(on_collection)
if "ours" in sys.argv:
    gc.set_threshold(50_000, 10, 10)  # as lambda_app.main sets it
import importlib, pkgutil
for part, names in parts.items():
    before, collected_before = time.process_time(), collected
    for name in names:
        module = importlib.import_module(name.removesuffix(".*"))
        if name.endswith(".*"):
            for found in pkgutil.walk_packages(module.__path__, module.__name__ + "."):
                importlib.import_module(found.name)
    spent[part] = time.process_time() - before - (collected - collected_before)
print(json.dumps(spent | {"garbage collector": collected}))
"""


def measure_start_parts(testbed: Testbed, candidates: list[Candidate], *, rounds: int) -> dict[str, dict[str, float]]:
    """Start each candidate in turns. Returns the least processor time of each part, in ms. The parts exclude the garbage collector."""
    least: dict[str, dict[str, float]] = {}
    for _ in range(rounds):
        for candidate in (candidate for candidate in candidates if candidate.name in PARTS):
            finished = subprocess.run(
                command_for("-c", _CHILD, json.dumps(PARTS[candidate.name]), candidate.name),
                env=environment_for(candidate, testbed.environment),
                check=True,
                capture_output=True,
                text=True,
            )
            # A candidate may log to the same output.
            spent = json.loads(finished.stdout.splitlines()[-1])
            parts = least.setdefault(candidate.name, {})
            parts |= {part: min(parts.get(part, seconds * 1000), seconds * 1000) for part, seconds in spent.items()}
    return least
