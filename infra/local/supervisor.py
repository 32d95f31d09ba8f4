"""Runs a command until standard input closes, and then stops it.

A script, started by `infra.local.processes`: `python supervisor.py STOP_SIGNAL FORCE_SIGNAL GRACE_SECONDS COMMAND...`. The starter holds
the other end of the pipe. The kernel closes that end however the starter ends, so no server outlives its starter. The supervisor signals
only its own child, never another process that received the same id later.
"""

import os
import signal
import subprocess
import sys
import threading


def main(stop_signal: str, force_signal: str, grace_seconds: str, *command: str) -> None:
    """Run `command` and exit with its status. SIGTERM to the supervisor sends the force signal at once."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.Signals[force_signal]))

    def exit_with_child() -> None:
        os._exit(child.wait() % 256)

    waiter = threading.Thread(target=exit_with_child, daemon=True)
    waiter.start()
    while os.read(sys.stdin.fileno(), 4096):
        pass
    child.send_signal(signal.Signals[stop_signal])
    waiter.join(float(grace_seconds))
    child.send_signal(signal.Signals[force_signal])
    waiter.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
