"""The child process of a measurement: loads a handler, reports the time of each step, and serves commands until its input ends.

It runs by path and uses only the standard library, as `python -S child.py MODULE`, so that only the handler's own roots are on its path.
With `snapshot` after the module it runs the hooks that the handler registered, as Lambda does before it takes a SnapStart snapshot.
"""

import time

STARTED_AT = time.monotonic()

import sys  # noqa: E402  # the start time is taken first


def main() -> None:
    """Load `MODULE.handler`, then read one JSON command per line."""
    # The handler may log to standard output. Its logs are written, to measure their cost, but must not mix with the responses.
    import os

    responses = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    hooks = snapshot_hooks() if sys.argv[2:] == ["snapshot"] else []  # type: ignore[no-untyped-call]  # see snapshot_hooks
    module = __import__(sys.argv[1], fromlist=["handler"])
    imported_at = time.monotonic()
    handler = module.handler
    for hook in reversed(hooks):
        hook()
    built_at, cpu_built_at = time.monotonic(), time.process_time()
    import json

    commands = {"invoke": invoke, "run": run, "load": load, "memory": memory}
    is_first = True
    for line in sys.stdin:
        received_at = time.monotonic()
        command = json.loads(line)
        result = commands[command.pop("command")](handler, **command)  # type: ignore[operator]  # functions without types
        if is_first:
            result |= {"started_at": STARTED_AT, "imported_at": imported_at, "built_at": built_at}
            result |= {"responded_at": time.monotonic(), "cpu_seconds": time.process_time()}
            result |= {"received_at": received_at, "cpu_seconds_since_built": time.process_time() - cpu_built_at}
            is_first = False
        responses.write(json.dumps(result) + "\n")


def snapshot_hooks():  # type: ignore[no-untyped-def]  # noqa: ANN201  # importing typing would be measured
    """Replace the module of the Lambda runtime, and return the list to which it adds the hooks that run before a snapshot."""
    import types

    hooks = []  # type: ignore[var-annotated]  # a list of functions
    runtime = types.ModuleType("snapshot_restore_py")
    runtime.register_before_snapshot = hooks.append  # type: ignore[attr-defined]  # created here
    runtime.register_after_restore = id  # type: ignore[attr-defined]  # created here; never called
    sys.modules["snapshot_restore_py"] = runtime
    return hooks


def invoke(handler, event):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201  # importing typing would be measured
    """Handle one event."""
    return {"response": handler(event, None)}


def run(handler, events, times, status):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201  # importing typing would be measured
    """Handle the events in turn, `times` in all. Returns wall time and processor time of each in nanoseconds."""
    import json

    texts = [json.dumps(event) for event in events]
    wall, cpu = [], []
    for number in range(times):
        event = json.loads(texts[number % len(texts)])
        cpu_before, before = time.process_time_ns(), time.perf_counter_ns()
        response = handler(event, None)
        after, cpu_after = time.perf_counter_ns(), time.process_time_ns()
        if response["statusCode"] != status:
            raise RuntimeError(f"expected status {status}, got {response}")
        wall.append(after - before)
        cpu.append(cpu_after - cpu_before)
    return {"wall": wall, "cpu": cpu}


def load(handler, events, seconds):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201  # importing typing would be measured
    """Handle the events repeatedly for `seconds`, with JSON decoding and encoding as in the runtime. Returns the number handled."""
    import json

    texts = [json.dumps(event) for event in events]
    served, cpu_before, before = 0, time.process_time(), time.perf_counter()
    while (elapsed := time.perf_counter() - before) < seconds:
        response = handler(json.loads(texts[served % len(texts)]), None)
        if response["statusCode"] >= 300:
            raise RuntimeError(f"request failed: {response}")
        json.dumps(response)
        served += 1
    return {"served": served, "seconds": elapsed, "cpu_seconds_used": time.process_time() - cpu_before}


def memory(handler):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201  # importing typing would be measured
    """Return the resident memory of the process in bytes."""
    import os

    with open("/proc/self/statm") as pages:  # noqa: PTH123  # importing pathlib would be measured
        return {"resident_bytes": int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")}


if __name__ == "__main__":
    main()
