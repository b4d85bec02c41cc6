"""The SSH engine against its peers: bare ssh, Ansible, Ansible with Mitogen, pyinfra, Fabric.

    make bench-ssh                                    what the bars need, then the table
    python -m scripts.bench_ssh measure --workload W2 --hosts 10 --delay-ms 0 --peer engine --peer ssh
    python -m scripts.bench_ssh table --file FILE     Markdown; exit code 1 when a bar is missed
    python -m scripts.bench_ssh plot --file FILE --png PNG

Hosts are nodes of the golden image (scripts/setup builds it), booted for this in namespaces that end with
it; needs root. ``--delay-ms`` is added to every round trip. Finished rounds are kept in the results file, and
a run goes on where the one before stopped. How a round goes stands in scripts/ssh_bench/bench.py, what is
done in workloads.py beside it.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from cluster.problems import BadInput, Failure, Problem
from rehearsal import image
from rehearsal.cached import command_line, lock, say
from rehearsal.paths import REPO
from scripts.ssh_bench import bench, cgroup, environments, fleet, table
from scripts.ssh_bench.peers import ALL
from scripts.ssh_bench.results import Cell, Results, needed
from scripts.ssh_bench.workloads import TITLES

RESULTS = REPO / "docs" / "measurements" / "ssh" / "results.json"
INSIDE = "DRYDOCK_BENCH_SSH_INSIDE"
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def measure(  # noqa: PLR0917 - options of a command
    workload: Annotated[
        list[str] | None, typer.Option(help="W1 to W5; all that the bars need if none.")
    ] = None,
    hosts: Annotated[int, typer.Option(min=1, max=fleet.MOST_HOSTS)] = 10,
    delay_ms: Annotated[int, typer.Option(min=0)] = 0,
    peer: Annotated[list[str] | None, typer.Option(help=", ".join(ALL))] = None,
    repeats: Annotated[int, typer.Option(min=1)] = 5,
    out: Annotated[Path, typer.Option(help="The results file.")] = RESULTS,
) -> None:
    """Measure what is missing in the results file."""
    plan = planned(workload or [], hosts, delay_ms, peer or [])
    if INSIDE in os.environ:
        bench.measure(plan, repeats, out)
        return
    if os.geteuid() != 0:
        raise Failure("hosts can only be booted by root", "Run it with sudo.")
    image.verify()
    environments.ensure()
    say(f"{len(plan)} cells, about {bench.estimate_s(plan, repeats) / 60:.0f} minutes from nothing")
    options = [
        f"--hosts={hosts}",
        f"--delay-ms={delay_ms}",
        f"--repeats={repeats}",
        f"--out={out.absolute()}",
    ]
    options += [f"--workload={name}" for name in workload or []] + [f"--peer={name}" for name in peer or []]
    enclosed([sys.executable, "-m", "scripts.bench_ssh", "measure", *options])


@app.command("table")
def show(file: Path = RESULTS) -> None:
    """Print the results as Markdown. Exit code 1 when a bar is missed."""
    results = Results.load(file)
    print(table.markdown(results))
    if missed := table.missed(results):
        raise Failure(f"{len(missed)} bars are missed", "The table says which.")


@app.command()
def plot(file: Path = RESULTS, png: Path = REPO / "docs" / "ssh.png") -> None:
    """Draw the second passes."""
    from scripts.ssh_bench.plot import write

    write(Results.load(file), png)


def planned(workloads: list[str], hosts: int, delay_ms: int, peers: list[str]) -> dict[Cell, tuple[str, ...]]:
    """The cells that were asked for. Raises BadInput."""
    problems = [
        Problem(f"--{kind} {name}", "unknown", f"Choose of {', '.join(known)}.")
        for kind, names, known in (("workload", workloads, TITLES), ("peer", peers, ALL))
        for name in names
        if name not in known
    ]
    if problems:
        raise BadInput(problems)
    who = tuple(peer for peer in ALL if peer in peers)
    if not workloads:
        return {cell: tuple(p for p in each if not who or p in who) for cell, each in needed().items()}
    return {Cell(name, hosts, delay_ms): who or ALL for name in workloads}


def enclosed(command: list[str]) -> None:
    """Run a command in namespaces that end with it, and remove what outlives them. Raises Failure."""
    with lock(environments.HOME / "hosts.lock"), fleet.room_for_watches():
        sweep()
        process = subprocess.Popen(fleet.enclosed(command), env={**os.environ, INSIDE: "1"}, cwd=REPO)
        try:
            code = process.wait()
        finally:
            process.kill()  # the namespaces and all in them end with it
            process.wait()
            sweep()
    if code != 0:
        raise Failure(f"measuring ended with exit code {code}", "What was finished is kept: run it again.")


def sweep() -> None:
    """Remove the control groups of a bench that has ended, and end what may still run in them."""
    for group in cgroup.groups():
        cgroup.remove(group)


if __name__ == "__main__":
    command_line(app)
