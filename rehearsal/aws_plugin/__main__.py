"""The plugin's process: says its port, serves, and ends with the Pulumi that started it."""

import os
import signal
import sys
import threading

from rehearsal.aws_plugin.server import serve


def main(arguments: list[str]) -> None:
    """Serves until told to stop, or until the parent is gone: a killed Pulumi leaves no plugin behind."""
    parent = os.getppid()
    addresses = [argument for argument in arguments if not argument.startswith("-")]
    stop = threading.Event()
    # Plugins have a process group of their own: it is Pulumi that sends SIGINT, once it needs them no more.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _signal, _frame: stop.set())
    server, port = serve(addresses[0] if addresses else None)
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    while not stop.wait(1.0):
        if os.getppid() != parent:
            break
    server.stop(grace=None)
    os._exit(0)  # a thread that still waits for AWS must not keep the process


if __name__ == "__main__":
    main(sys.argv[1:])
