"""An AWS account on loopback whose instances are only listed; as a program, prints its URL and serves."""

import socket
import threading

from rehearsal.cloud import ec2, seeds
from rehearsal.cloud.api import Api, Servers


def main() -> None:
    """Serve until killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ec2.install(None)
    Servers(Api(threading.RLock(), seeds.plant, lambda: None, {}), port).converge(["127.0.0.1"])
    print(f"http://127.0.0.1:{port}", flush=True)  # noqa: T201 - the parent waits for this line
    threading.Event().wait()


if __name__ == "__main__":
    main()
