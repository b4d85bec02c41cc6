"""How near `pulumi up` comes to its floor: a node's boot and vLLM's start by hand, in the same run.

    .venv/bin/python -m scripts.bench_up --runs 3

A run measures, one after another on this machine:
  floor: two fresh instances from RunInstances until both answer SSH; then, on two bootstrapped nodes whose
         units were stopped and whose vLLM caches were emptied (as they are on a fresh node), the very vllm
         commands of those units until the first right completion
  up:    `pulumi up` from an empty stack until the first right completion
and prints both with their ratio. Writes build/bench/up.json.
"""

import json
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event
from typing import Any

import boto3
import typer

from ansible_like.connection import Connection, Target
from bootstrap.host_keys import await_host_keys
from bootstrap.replica import unit_of
from bootstrap.work import Work
from cluster.problems import Failure
from rehearsal import paths, pulumi_cli, voyage
from rehearsal.pulumi_cli import Stack
from rehearsal.voyage import Cluster

BOOT_DEADLINE_S = 120
SERVE_DEADLINE_S = 300


@dataclass(frozen=True)
class Run:
    """One run's three durations, in seconds."""

    up_s: float
    boot_s: float
    vllm_s: float

    @property
    def ratio(self) -> float:
        """`pulumi up` over its floor."""
        return self.up_s / (self.boot_s + self.vllm_s)


def measure() -> Run:
    """Start a cloud, measure up, then its floor on the same nodes, and remove everything."""
    stack_file = paths.REPO / f"Pulumi.{voyage.STACK}.yaml"
    stack = Stack(voyage.STACK)
    voyage.start_cloud()
    try:
        stack.init()
        begin = time.monotonic()
        stack.up()
        cluster = Cluster.from_outputs(stack.outputs())
        right = voyage.question_and_answer(stack_file)
        voyage.check_answer(cluster, *right)
        up_s = time.monotonic() - begin
        vllm_s = vllm_by_hand(cluster, right)
        boot_s = boot_by_hand(cluster, stack.outputs())
        stack.destroy()
    finally:
        voyage.stop_cloud()
    return Run(up_s, boot_s, vllm_s)


def boot_by_hand(cluster: Cluster, outputs: dict[str, Any]) -> float:
    """Seconds from RunInstances for two more nodes until both take an SSH connection."""
    ec2: Any = boto3.client("ec2", **pulumi_cli.client_arguments())
    like = ec2.describe_instances(InstanceIds=[outputs["inventory"][0]["instanceId"]])
    instance = like["Reservations"][0]["Instances"][0]
    begin = time.monotonic()
    made = ec2.run_instances(
        ImageId=instance["ImageId"], InstanceType=instance["InstanceType"], MinCount=2, MaxCount=2,
        KeyName=instance["KeyName"], SubnetId=instance["SubnetId"],
        SecurityGroupIds=[group["GroupId"] for group in instance["SecurityGroups"]],
    )["Instances"]  # fmt: skip
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: wait_for_ssh(ec2, one, cluster.nodes[0]), made))
    boot_s = time.monotonic() - begin
    ec2.terminate_instances(InstanceIds=[one["InstanceId"] for one in made])
    ec2.get_waiter("instance_terminated").wait(InstanceIds=[one["InstanceId"] for one in made])
    return boot_s


def wait_for_ssh(ec2: Any, instance: dict[str, Any], like: Target) -> None:
    """Connect as the bootstrap does: host key from the console output, then a login."""
    work = Work(lambda _: None, BOOT_DEADLINE_S, Event())
    keys = await_host_keys(ec2, instance["InstanceId"], work)
    target = Target(instance["InstanceId"], instance["PrivateIpAddress"], like.user, like.private_key, keys)
    with Connection.open(target, deadline_s=BOOT_DEADLINE_S) as node:
        node.run(["true"])


def vllm_by_hand(cluster: Cluster, right: tuple[str, str]) -> float:
    """Seconds from starting the units' own commands by hand on all nodes to the first right completion."""
    connections = [Connection.open(node, deadline_s=30) for node in cluster.nodes]
    try:
        for rank, node in enumerate(connections):
            node.run(["systemctl", "stop", unit_of(rank)], sudo=True, deadline_s=60)
            # vLLM's second start on a node spares 8 s of looking at the model's class; up is always a first.
            node.run("rm -rf /var/lib/vllm/.cache", sudo=True)
        begin = time.monotonic()
        for rank, node in enumerate(connections):
            node.run(["systemctl", "start", "--no-block", unit_of(rank)], sudo=True)
        while True:
            try:
                voyage.check_answer(cluster, *right)
            except Exception as error:
                if time.monotonic() - begin > SERVE_DEADLINE_S:
                    raise Failure(
                        f"vLLM by hand gave no answer in {SERVE_DEADLINE_S} s", "see its journal"
                    ) from error
                time.sleep(0.2)
            else:
                return time.monotonic() - begin
    finally:
        for node in connections:
            node.close()


def main(runs: int = typer.Option(1, help="How many runs; the median is what counts.")) -> None:
    """Measure `pulumi up` against its floor and print the ratio."""
    done = []
    for number in range(runs):
        run = measure()
        done.append(run)
        floor = f"{run.boot_s:.1f} + {run.vllm_s:.1f} s"
        print(f"run {number + 1}: up {run.up_s:.1f} s; floor {floor}; {run.ratio:.2f} ×")
    median = statistics.median(run.ratio for run in done)
    print(f"median of {runs}: {median:.2f} × the floor")
    result = Path(paths.REPO, "build", "bench", "up.json")
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(
        json.dumps({"runs": [asdict(run) for run in done], "median_ratio": median}, indent=2) + "\n"
    )


if __name__ == "__main__":
    typer.run(main)
