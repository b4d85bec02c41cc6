"""Takes the cloud away whatever state it is in: nothing here trusts the daemon's memory, only the host's."""

import os
import select
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from rehearsal.cloud import firewall, machine, network, places, volumes
from rehearsal.cloud.lock import holder
from rehearsal.cloud.shell import attempt

DAEMON_TAKES_S = 10.0


def sweep() -> list[str]:
    """Removes daemon, nodes, mounts, loop devices, bridges, rules and files, and puts kernel
    settings back. One line for each thing that was there."""
    steps: tuple[Callable[[], list[str]], ...] = (
        _daemon,
        _nodes,
        _mounts,
        volumes.release_all,
        network.remove_bridges,
        lambda: [f"nftables table inet {places.NFT_TABLE}"] if firewall.remove() else [],
        _traces,
        network.restore_kernel,
        _files,
    )
    return [line for step in steps for line in step()]


def _daemon() -> list[str]:
    running = holder()
    if running is None or not running.pid:
        return []
    try:
        descriptor = os.pidfd_open(running.pid)
    except ProcessLookupError:  # it ended between the two looks
        return []
    try:
        for number in (signal.SIGTERM, signal.SIGKILL):
            signal.pidfd_send_signal(descriptor, number)
            if select.select([descriptor], [], [], DAEMON_TAKES_S)[0]:
                break
    finally:
        os.close(descriptor)
    return [f"daemon, pid {running.pid}"]


def _nodes() -> list[str]:
    return [f"node {instance_id}" for instance_id in machine.known() if machine.kill(instance_id)]


def _traces() -> list[str]:
    for instance_id in machine.traced():
        machine.forget(instance_id)
    return []


def _mounts() -> list[str]:
    """Innermost first; one that is busy is detached, to go when its last user does."""
    found = [point for point in _mount_points() if point.is_relative_to(places.CLOUD)]
    return [
        f"mount {point}"
        for point in sorted(found, reverse=True)
        if attempt("umount", str(point)) or attempt("umount", "--lazy", str(point))
    ]


def _mount_points() -> Iterator[Path]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        yield Path(line.split()[4].encode().decode("unicode_escape"))


def _files() -> list[str]:
    removed = []
    if places.CLOUD.exists():
        shutil.rmtree(places.CLOUD)
        removed.append(f"files under {places.CLOUD}")
    places.LOCK.unlink(missing_ok=True)
    if places.LOCK.parent.exists() and not any(places.LOCK.parent.iterdir()):
        places.LOCK.parent.rmdir()
    return removed
