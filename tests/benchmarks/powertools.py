"""`python -m tests.benchmarks.powertools`: the cost of AWS Lambda Powertools, compared with the application's own logs and metrics.

It installs Powertools with its tracer and the locked packages of the function into a temporary environment, and prints a table: the
processor time of loading it after everything that the application loads, the processor time of one warm request, and the size on disk.
The figures are in docs/adr/0021-metrics-from-logs.md. The X-Ray daemon is an unused UDP address, which costs as much as a real one.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
POWERTOOLS = "aws-lambda-powertools[tracer]==3.37.0"
ROUNDS = 7
REQUESTS = 3000

ALREADY_LOADED = """
import json, logging, sys, time, os, contextlib, io
import fastapi, mangum, sqlalchemy.orm, pydantic, email, uuid, urllib.parse
"""
"""Imports of the function that both variants need."""

FUNCTION = (
    ALREADY_LOADED
    + """
class Context:
    function_name = "api"; memory_limit_in_mb = 1769; invoked_function_arn = "arn:aws:lambda:us-east-1:1:function:api"
    aws_request_id = "request"; log_group_name = "group"; log_stream_name = "stream"; function_version = "1"
os.environ.update(
    AWS_REGION="us-east-1", AWS_LAMBDA_FUNCTION_NAME="api", POWERTOOLS_SERVICE_NAME="api", POWERTOOLS_METRICS_NAMESPACE="WeUpload",
    LAMBDA_TASK_ROOT="/var/task", AWS_XRAY_DAEMON_ADDRESS="127.0.0.1:2000", _HANDLER="x.y", AWS_EXECUTION_ENV="AWS_Lambda_python3.13",
    _X_AMZN_TRACE_ID="Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1",
)
began = time.process_time()
{setup}
sink = io.StringIO()
with contextlib.redirect_stdout(sink):
    {late}
    imported = time.process_time() - began
    for _ in range(200):
        handler({{}}, Context())
    began, sink_start = time.process_time(), sink.tell()
    for _ in range({requests}):
        handler({{}}, Context())
    spent = time.process_time() - began
line = sink.getvalue()[sink_start:]
print(json.dumps({{"start": imported * 1000, "request": spent / {requests} * 1e6, "logged": len(line) / {requests}}}))
"""
)

OURS = {
    "setup": """
from lambda_app.core import logs
""",
    "late": """
    logs.configure_logs("INFO")
    logger = logging.getLogger("lambda_app.routers.http.request_middleware")
    def handler(event, context):
        began = time.perf_counter()
        token = logs.request_id.set(context.aws_request_id)
        fields = {"method": "GET", "route": "/files", "status": 200, "ms": round((time.perf_counter() - began) * 1000, 2)}
        logger.info("request", extra={"fields": fields})
        logs.request_id.reset(token)
        return {"statusCode": 200}
""",
}

POWERTOOLS_VARIANTS = {
    "logger and metrics": (
        "from aws_lambda_powertools import Logger, Metrics",
        """
    logger, metrics = Logger(), Metrics()
    @logger.inject_lambda_context
    @metrics.log_metrics(capture_cold_start_metric=True)
    def handler(event, context):
        began = time.perf_counter()
        logger.info("request", extra={"method": "GET", "route": "/files", "status": 200})
        metrics.add_dimension(name="route", value="/files")
        metrics.add_metric(name="RequestMilliseconds", unit="Milliseconds", value=(time.perf_counter() - began) * 1000)
        return {"statusCode": 200}
""",
    ),
    "logger, metrics and tracer": (
        "from aws_lambda_powertools import Logger, Metrics, Tracer",
        """
    logger, metrics, tracer = Logger(), Metrics(), Tracer()
    @logger.inject_lambda_context
    @tracer.capture_lambda_handler
    @metrics.log_metrics(capture_cold_start_metric=True)
    def handler(event, context):
        began = time.perf_counter()
        logger.info("request", extra={"method": "GET", "route": "/files", "status": 200})
        metrics.add_dimension(name="route", value="/files")
        metrics.add_metric(name="RequestMilliseconds", unit="Milliseconds", value=(time.perf_counter() - began) * 1000)
        return {"statusCode": 200}
""",
    ),
}


def measure(python: Path, setup: str, late: str) -> dict[str, float]:
    """Run a variant in new interpreters. Returns the best of each: start in ms of processor time, request in µs, characters logged."""
    code = FUNCTION.format(setup=setup.strip(), late=late.strip("\n").lstrip(), requests=REQUESTS)
    runs = [
        json.loads(subprocess.run([python, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout) for _ in range(ROUNDS)
    ]
    return {name: min(run[name] for run in runs) for name in runs[0]}


def megabytes(python: Path) -> float:
    """Return the size of the environment's packages without pip."""
    site = next((python.parents[1] / "lib").glob("python3.*/site-packages"))
    return sum(path.stat().st_size for path in site.rglob("*") if path.is_file() and not path.is_relative_to(site / "pip")) / 1e6


def install(python: Path, *arguments: str) -> None:
    """Install packages into the environment, with bytecode."""
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments], cwd=ROOT, check=True)


def main() -> None:
    """Measure all variants and print the table."""
    rows: list[tuple[str, dict[str, Any], float]] = []
    with tempfile.TemporaryDirectory(prefix="we-upload-powertools-") as folder:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        python = Path(folder) / "bin" / "python"
        install(python, "--no-deps", "--require-hashes", "-r", "requirements/lambda.txt")
        without = megabytes(python)
        rows.append(("ours", measure(python, OURS["setup"], OURS["late"]), 0.0))
        install(python, POWERTOOLS)
        added = megabytes(python) - without
        rows += [(name, measure(python, *variant), added) for name, variant in POWERTOOLS_VARIANTS.items()]
    print(f"{'':28}{'start, ms':>12}{'request, µs':>13}{'logged, chars':>15}{'package, MB':>13}")
    for name, run, size in rows:
        print(f"{name:28}{run['start']:12.1f}{run['request']:13.1f}{run['logged']:15.0f}{size:13.1f}")


if __name__ == "__main__":
    main()
