"""A node's SSH host keys, from the only place that nobody on the network can forge: its console output."""

import re
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from bootstrap.work import Work
from cluster.problems import Failure

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

POLL_S = 1.0
_BLOCK = re.compile(r"-----BEGIN SSH HOST KEY KEYS-----(.*?)-----END SSH HOST KEY KEYS-----", re.DOTALL)
_KEY = re.compile(r"\b((?:ssh|ecdsa)-[a-z0-9-]+ AAAA[A-Za-z0-9+/]+={0,3})")
_NOT_KNOWN_YET = "InvalidInstanceID.NotFound"
"""Just launched: not every part of EC2 knows the instance."""
_GONE = {"shutting-down", "terminated", "stopping", "stopped"}


def parse_host_keys(console: str) -> tuple[str, ...]:
    """The keys that cloud-init printed, as ``type base64``; empty while there is no whole block of them.

    Prefixes of the console's logger are skipped; the last block counts, for a machine may boot often.
    """
    blocks = _BLOCK.findall(console)
    return tuple(_KEY.findall(blocks[-1])) if blocks else ()


def await_host_keys(ec2: "EC2Client", instance_id: str, work: Work) -> tuple[str, ...]:
    """Polls the console until it shows the host keys.

    Raises Failure when the instance is gone, or when the work's deadline passes, with what was seen.
    """
    console, said = "", False
    while True:
        if state := _state_if_gone(ec2, instance_id):
            raise Failure(
                f"instance {instance_id} is {state}, so it cannot be bootstrapped",
                "run `pulumi refresh`, then `pulumi up` to have it replaced",
            )
        console = _console(ec2, instance_id) or console
        if keys := parse_host_keys(console):
            return keys
        if work.left_s <= 0:
            raise Failure(_nothing_seen(instance_id, console, work.elapsed_s), _REMEDY)
        if not said:
            work.step("waiting for the host keys in the console output")
            said = True
        work.pause(min(POLL_S, work.left_s))


_REMEDY = (
    "the image must run cloud-init with its keys_to_console module (all Ubuntu and Deep Learning AMIs do); "
    "raise the deadline if the console was still booting"
)


def _nothing_seen(instance_id: str, console: str, elapsed_s: float) -> str:
    tail = "\n".join(f"      {line}" for line in console.rstrip().splitlines()[-5:])
    seen = f"it has {len(console)} characters and ends:\n{tail}" if console else "it is empty"
    return f"the console of {instance_id} shows no SSH host keys after {elapsed_s:.0f} s; {seen}"


def _console(ec2: "EC2Client", instance_id: str) -> str:
    try:
        return ec2.get_console_output(InstanceId=instance_id, Latest=True).get("Output", "")
    except ClientError as error:
        if _code(error) == "UnsupportedOperation":  # not a Nitro type
            return ec2.get_console_output(InstanceId=instance_id).get("Output", "")
        if _code(error) == _NOT_KNOWN_YET:
            return ""
        raise


def _state_if_gone(ec2: "EC2Client", instance_id: str) -> str:
    try:
        reservations = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    except ClientError as error:
        if _code(error) == _NOT_KNOWN_YET:
            return ""
        raise
    for instance in (each for reservation in reservations for each in reservation["Instances"]):
        if instance["State"]["Name"] in _GONE:
            reason = instance.get("StateReason", {}).get("Message", "")
            return instance["State"]["Name"] + (f" ({reason})" if reason else "")
    return ""


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
