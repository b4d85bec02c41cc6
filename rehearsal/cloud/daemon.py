"""The process behind the cloud: ``python -m rehearsal.cloud.daemon``; `rehearsal.cloud.start` runs it."""

import argparse
import json
import logging
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rehearsal.cloud import ec2, machine, network, places, seeds, state
from rehearsal.cloud.api import Api, Servers
from rehearsal.cloud.inventory import inventory
from rehearsal.cloud.lock import sole
from rehearsal.cloud.metadata import MetadataService
from rehearsal.cloud.reconciler import Reconciler, cloud_backends, instance_at

log = logging.getLogger(__name__)


def serve(image: Path | None, since: str, ready: Callable[[], None]) -> None:
    """Runs the cloud until SIGTERM; nodes boot from `image`, or none do where it is None.

    Calls `ready` when the API answers.
    """
    lock = threading.RLock()
    ec2.install(_Host() if image else None)
    if state.load(places.SNAPSHOT):
        log.info("state of an earlier daemon loaded")
    stopping = threading.Event()

    def save() -> None:
        try:
            state.save(places.SNAPSHOT)
        except (
            pickle.PicklingError,
            TypeError,
            AttributeError,
        ):  # what pickle says of a thing it cannot take
            log.exception("the API's state could not be kept: a daemon started after a kill would lack it")

    def changed() -> None:
        save()
        if reconciler:
            reconciler.wake()

    pages: dict[str, Any] = {"status": lambda: _status(image is not None, since), "inventory": inventory}
    api = Api(lock, seeds.plant, changed, pages)
    api_servers = Servers(api, places.API_PORT)
    metadata_servers = Servers(_locked(lock, MetadataService(instance_at)), places.METADATA_PORT)

    def listen(routers: Any) -> None:
        addresses = set(routers)
        api_servers.converge({"127.0.0.1", *addresses})
        metadata_servers.converge(addresses)

    reconciler = Reconciler(lock, image, listen, save) if image else None
    signal.signal(signal.SIGTERM, lambda *_: reconciler.stop() if reconciler else stopping.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command in the foreground
    with lock:
        seeds.plant(places.REGION)
        save()
    if reconciler:
        reconciler.prepare()
    listen(())
    ready()
    log.info("API on %s", places.ENDPOINT)
    if reconciler:
        reconciler.run()
    else:
        stopping.wait()
    log.info("stopped; nodes that run go on running")


class _Host:
    """This machine, as EC2 asks of it."""

    def console(self, instance_id: str) -> bytes:
        return machine.console(instance_id)

    def conflict(self, cidr: str, vpc_id: str | None) -> str | None:
        return network.conflict(cidr, vpc_id)


def _locked(lock: threading.RLock, application: Any) -> Any:
    def locked(environ: dict[str, Any], start_response: Any) -> Any:
        with lock:
            return application(environ, start_response)

    return locked


def _status(boots: bool, since: str) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "since": since,
        "boots": boots,
        "instances": [
            {
                "instance_id": i.id,
                "name": next((tag["value"] for tag in i.get_tags() if tag["key"] == "Name"), ""),
                "instance_type": i.instance_type,
                "state": i.state,
                "address": i.private_ip if i.state != "terminated" else None,
                "reason": i.state_reason.message,
            }
            for backend in cloud_backends()
            for i in backend.all_instances()
        ],
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--image", type=Path, help="root folder of the golden image; without it no node boots"
    )
    parser.add_argument(
        "--ready", type=int, required=True, help="descriptor that is told when the API answers"
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with os.fdopen(options.ready, "w") as pipe:

        def ready() -> None:
            pipe.write(json.dumps({"pid": os.getpid()}))
            pipe.close()

        try:
            with sole() as since:
                serve(options.image, since, ready)
        except Exception as problem:
            log.exception("the cloud ends")
            if not pipe.closed:
                pipe.write(json.dumps({"error": f"{type(problem).__name__}: {problem}"}))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
