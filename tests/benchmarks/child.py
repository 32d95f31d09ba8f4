"""The child process of a measurement: it loads a handler, says when each step was done, and then serves commands until its input ends.

Run by path with the standard library alone, as `python -S child.py MODULE`, so that nothing but the handler's own roots is on its path.
With `snapshot` after the module it does what Lambda does with SnapStart up to the snapshot: it runs the hooks that the handler registered.
"""

import time

STARTED_AT = time.monotonic()

import sys  # noqa: E402  # the clock comes first


def main() -> None:
    """Load `MODULE.handler`, then read one JSON command a line."""
    # The handler may log to standard output; that must cost what it costs, and not be in our way.
    import os

    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    hooks = snapshot_hooks() if sys.argv[2:] == ["snapshot"] else []  # type: ignore[no-untyped-call]  # likewise
    module = __import__(sys.argv[1], fromlist=["handler"])
    imported_at = time.monotonic()
    handler = module.handler
    for hook in reversed(hooks):
        hook()
    built_at, cpu_built_at = time.monotonic(), time.process_time()
    import json

    def say(**words: object) -> None:
        answers.write(json.dumps(words) + "\n")

    commands = {"ask": ask, "run": run, "load": load, "memory": memory}
    first = True
    for line in sys.stdin:
        asked_at = time.monotonic()
        command = json.loads(line)
        words = commands[command.pop("do")](handler, **command)  # type: ignore[operator]  # functions without types
        if first:
            words |= {"started_at": STARTED_AT, "imported_at": imported_at, "built_at": built_at}
            words |= {"answered_at": time.monotonic(), "cpu_seconds": time.process_time()}
            words |= {"asked_at": asked_at, "cpu_seconds_since_built": time.process_time() - cpu_built_at}
            first = False
        say(**words)


def snapshot_hooks():  # type: ignore[no-untyped-def]  # noqa: ANN201  # typing would be one import more
    """Stand in for the runtime's own module, and return the list of what is registered to run before a snapshot."""
    import types

    hooks = []  # type: ignore[var-annotated]  # of functions
    runtime = types.ModuleType("snapshot_restore_py")
    runtime.register_before_snapshot = hooks.append  # type: ignore[attr-defined]  # made here
    runtime.register_after_restore = id  # type: ignore[attr-defined]  # likewise; it is not called
    sys.modules["snapshot_restore_py"] = runtime
    return hooks


def ask(handler, event):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201  # typing would be one import more
    """Serve one request."""
    return {"answer": handler(event, None)}


def run(handler, events, times, status):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201  # likewise
    """Serve each event in turn, and say how long each answer took and how much processor time, in nanoseconds."""
    import json

    texts = [json.dumps(event) for event in events]
    wall, cpu = [], []
    for number in range(times):
        event = json.loads(texts[number % len(texts)])
        cpu_before, before = time.process_time_ns(), time.perf_counter_ns()
        answer = handler(event, None)
        after, cpu_after = time.perf_counter_ns(), time.process_time_ns()
        if answer["statusCode"] != status:
            raise RuntimeError(f"{status} was expected, not {answer}")
        wall.append(after - before)
        cpu.append(cpu_after - cpu_before)
    return {"wall": wall, "cpu": cpu}


def load(handler, events, seconds):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201  # likewise
    """Serve the events round and round for so long, from and to JSON as the runtime does it; say how many were served."""
    import json

    texts = [json.dumps(event) for event in events]
    served, cpu_before, before = 0, time.process_time(), time.perf_counter()
    while (took := time.perf_counter() - before) < seconds:
        answer = handler(json.loads(texts[served % len(texts)]), None)
        if answer["statusCode"] >= 300:
            raise RuntimeError(f"refused: {answer}")
        json.dumps(answer)
        served += 1
    return {"served": served, "seconds": took, "cpu_seconds_used": time.process_time() - cpu_before}


def memory(handler):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201  # likewise
    """Say how many bytes of memory the process holds."""
    import os

    with open("/proc/self/statm") as pages:  # noqa: PTH123  # pathlib would be measured along
        return {"resident_bytes": int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")}


if __name__ == "__main__":
    main()
