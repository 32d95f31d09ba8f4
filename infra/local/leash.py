"""Run a command for as long as our standard input stays open, then stop it in order.

A script, started by `infra.local.processes`: `python leash.py STOP_SIGNAL FORCE_SIGNAL GRACE_SECONDS COMMAND...`. The starter holds
the other end of the pipe, and the kernel closes that end however the starter dies, so no server outlives it. As the parent we can
only ever signal our own child, never a stranger that was given its number later.
"""

import os
import signal
import subprocess
import sys
import threading


def main(stop_signal: str, force_signal: str, grace_seconds: str, *command: str) -> None:
    """Run `command` and end with its exit status; SIGTERM to us forces it to end at once."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.Signals[force_signal]))

    def end_with_the_child() -> None:
        os._exit(child.wait() % 256)

    waiter = threading.Thread(target=end_with_the_child, daemon=True)
    waiter.start()
    while os.read(sys.stdin.fileno(), 4096):
        pass
    child.send_signal(signal.Signals[stop_signal])
    waiter.join(float(grace_seconds))
    child.send_signal(signal.Signals[force_signal])
    waiter.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
