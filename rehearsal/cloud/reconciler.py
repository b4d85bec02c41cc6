"""Makes the running nodes, bridges and rules equal to what the API lists.

Woken by each change and by each node's end; nothing here waits for a node.
"""

import contextlib
import logging
import os
import select
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from moto.ec2.models import ec2_backends
from moto.ec2.models.instances import Instance, InstanceState, StateReason

from cluster.problems import Failure
from rehearsal.cloud import firewall, instances, machine, network, places, volumes
from rehearsal.cloud.ec2 import CloudEC2Backend
from rehearsal.cloud.instances import Step

log = logging.getLogger(__name__)

GRACE_S = 30.0
"""An orderly shutdown may take this long; then the plug is pulled."""

RETRY_S = 5.0


@dataclass
class Reconciler:
    """`lock` guards moto's backends; `serve` makes the HTTP servers listen on the routers' addresses."""

    lock: threading.RLock
    image: Path
    serve: Callable[[Iterable[str]], None]
    saved: Callable[[], None]
    _wake: int = field(default_factory=lambda: os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
    _processes: dict[str, machine.Process] = field(default_factory=dict)
    _ends: dict[str, int] = field(default_factory=dict)
    """Instance → pidfd of its node's keeper."""
    _deadlines: dict[str, float] = field(default_factory=dict)
    _rules: str = ""
    _retry_at: float | None = None
    _running: bool = True

    def wake(self) -> None:
        """Something changed; from any thread."""
        os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """Ends `run`; nodes go on."""
        self._running = False
        self.wake()

    def prepare(self) -> None:
        """Sets the kernel up and takes over the nodes of an earlier daemon."""
        network.set_kernel()
        self._adopt()

    def run(self) -> None:
        """Reconciles until `stop`."""
        while self._running:
            with self.lock:
                try:
                    while self._once():
                        pass
                    self._retry_at = None
                except Exception:
                    log.exception("could not reconcile; tried again in %.0f s", RETRY_S)
                    self._retry_at = time.monotonic() + RETRY_S
            self._wait()

    def _wait(self) -> None:
        """Until a change, a node's end, or the nearest deadline."""
        poll = select.poll()
        for descriptor in (self._wake, *self._ends.values()):
            poll.register(descriptor, select.POLLIN)
        waits = [*self._deadlines.values(), *([self._retry_at] if self._retry_at else [])]
        nearest = min(waits, default=None)
        poll.poll(None if nearest is None else max(0.0, nearest - time.monotonic()) * 1000)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)

    def _once(self) -> bool:
        """One pass over all; whether anything moved that another pass should look at."""
        for instance_id, process in list(self._processes.items()):
            if not process.alive():
                self._ended(instance_id)
        backends = list(cloud_backends())
        self._network(backends)
        moved = False
        for backend in backends:
            for instance in backend.all_instances():
                moved |= self._advance(instance)
        self._collect(backends)
        if moved:
            self.saved()
        return moved

    def _network(self, backends: list[CloudEC2Backend]) -> None:
        networks = instances.networks(backends)
        network.converge(networks)
        self.serve(router for n in networks for _, router in n.subnets)
        rules = firewall.ruleset(networks, instances.groups(backends), instances.members(backends))
        if rules != self._rules:
            firewall.apply(rules)
            self._rules = rules

    def _advance(self, instance: Instance) -> bool:
        backend: CloudEC2Backend = instance.ec2_backend
        process = self._processes.get(instance.id)
        step = instances.step(
            instance.state,
            process_alive=process is not None,
            on_disk=places.machine_folder(instance.id).exists(),
            reboot_wanted=instance.id in backend.reboots,
        )
        if step is Step.HALT and process:
            return self._halt(instance.id, process)
        if step is not None:
            log.info("%s (%s): %s", instance.id, instance.state, step.name.lower().replace("_", " "))
        match step:
            case Step.START:
                self._start(instance)
            case Step.MARK_RUNNING:
                instance._state = InstanceState("running", 16)
            case Step.REBOOT if process:
                backend.reboots.discard(instance.id)
                machine.reboot(process)
            case Step.MARK_STOPPED:
                crashed = instance.state == "running"
                instance.stop()
                if crashed:
                    code = "Client.InstanceInitiatedShutdown"
                    instance.state_reason = StateReason(f"{code}: Instance initiated shutdown", code)
            case Step.MARK_TERMINATED:
                instance.terminate()
            case Step.DISCARD:
                shutil.rmtree(places.machine_folder(instance.id))
        return step not in (None, Step.DISCARD)

    def _start(self, instance: Instance) -> None:
        wanted = instances.machine(instance)
        environment = {"AWS_ENDPOINT_URL": f"http://{wanted.router}:{places.API_PORT}"}
        try:
            process = machine.start(wanted, self.image, environment, network.name_servers())
        except Failure as failure:
            log.exception("%s could not be started", instance.id)
            has_run = bool(machine.console(instance.id))
            machine.release(instance.id)
            # As EC2: a launch that fails ends terminated, a later start falls back to stopped.
            _ = instance.stop() if has_run else instance.terminate()
            instance.state_reason = StateReason(
                f"Server.InternalError: {failure.what}", "Server.InternalError"
            )
            return
        self._watch(instance.id, process)

    def _halt(self, instance_id: str, process: machine.Process) -> bool:
        now = time.monotonic()
        deadline = self._deadlines.get(instance_id)
        if deadline is None:
            log.info("%s: shutting down", instance_id)
            self._deadlines[instance_id] = now + (GRACE_S if machine.halt(process) else 0)
        elif now >= deadline:
            log.warning("%s did not shut down in time: killed", instance_id)
            machine.kill(instance_id)
            self._ended(instance_id)
            return True
        return False

    def _adopt(self) -> None:
        folders = places.MACHINES.iterdir() if places.MACHINES.exists() else ()
        for folder in folders:
            process = machine.recorded(folder.name)
            if process is None:
                continue
            if process.alive():
                log.info("%s: its node is running, taken over", folder.name)
                self._watch(folder.name, process)
            else:
                machine.release(folder.name)

    def _watch(self, instance_id: str, process: machine.Process) -> None:
        self._processes[instance_id] = process
        try:
            self._ends[instance_id] = os.pidfd_open(process.pid)
        except ProcessLookupError:  # ended already; the next pass sees it
            self.wake()

    def _ended(self, instance_id: str) -> None:
        process = self._processes.pop(instance_id)
        self._deadlines.pop(instance_id, None)
        if (descriptor := self._ends.pop(instance_id, None)) is not None:
            os.close(descriptor)
        with contextlib.suppress(ChildProcessError):  # an earlier daemon's child
            os.waitpid(process.pid, 0)
        machine.release(instance_id)
        log.info("%s: its node has ended", instance_id)

    def _collect(self, backends: list[CloudEC2Backend]) -> None:
        """Deletes the files of volumes that are no more; an instance store lives as long as its node runs."""
        kept = {volume_id for backend in backends for volume_id in backend.volumes}
        kept |= {volume_id for process in self._processes.values() for volume_id in process.volumes}
        for volume_id in volumes.stored() - kept:
            volumes.delete(volume_id)


def cloud_backends() -> Iterator[CloudEC2Backend]:
    """EC2 of every region in use."""
    yield from (
        backend for _, _, backend in ec2_backends.iter_backends() if isinstance(backend, CloudEC2Backend)
    )


def instance_at(address: str) -> Instance | None:
    """The instance that has this private address and is not gone."""
    for backend in cloud_backends():
        for instance in backend.all_instances():
            if instance.state not in ("terminated", "stopped") and instance.private_ip == address:
                return instance
    return None
