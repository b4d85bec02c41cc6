"""From what was named on the command line to a compiled play, or everything that is wrong with it."""

import contextlib
import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible_like.connection import Target
from ansible_like.play import Host, Play, PlayRefused, Rollout, compile_play
from cluster.inventory import hosts_from_output
from cluster.problems import BadInput, Problem
from scripts.apply_inventory import read_inventory
from scripts.apply_play import load_play
from scripts.apply_variables import Variables
from scripts.stack_outputs import stack_outputs


def compiled(
    source: str, inventory: Path | None, stack: str | None, tags: Collection[str], limit: Collection[str]
) -> Rollout:
    """The play, compiled for its hosts. Raises BadInput with every problem of play, hosts and options."""
    # what a play prints as it is read is not of the roll-out, whose lines a program may read
    with contextlib.redirect_stdout(sys.stderr):
        play, variables, problems = _play(source)
        hosts, wrong = _hosts(inventory, stack, variables)
        problems += wrong
        try:
            if play:
                # a host that can't be used has its problem already, and --limit may name it
                rollout = compile_play(play, hosts, tags=tags, limit=() if problems else limit)
                if not problems:
                    return rollout
        except PlayRefused as refused:
            problems += [Problem(each.where, each.what, each.remedy) for each in refused.problems]
    raise BadInput(problems)


def with_sudo_password(rollout: Rollout, password: str) -> Rollout:
    """The roll-out on hosts whose sudo may ask for this password."""
    batches = tuple(
        {replace(target, sudo_password=password): operations for target, operations in batch.items()}
        for batch in rollout.batches
    )
    return replace(rollout, batches=batches)


def _play(source: str) -> tuple[Play[Any] | None, Variables | None, list[Problem]]:
    try:
        play = load_play(source)
    except BadInput as refusal:
        return None, None, list(refusal.problems)
    try:
        return play, Variables(play.variables), []
    except Exception as error:  # noqa: BLE001 - pydantic runs the annotations of the play's own type
        text = f"{type(error).__name__}: {error}".splitlines()[0]
        remedy = "Make it a dataclass or a pydantic model."
        return play, None, [Problem(f"play {play.name}: variables", f"can't be read: {text}", remedy)]


def _hosts(
    inventory: Path | None, stack: str | None, variables: Variables | None
) -> tuple[list[Host[Any]], list[Problem]]:
    if inventory and stack:
        return [], [Problem("--stack", "stands beside --hosts", "Give one of them.")]
    if inventory:
        return read_inventory(inventory, variables)
    if stack:
        return _stack_hosts(stack, variables)
    return [], [Problem("--hosts", "is missing", "Give an inventory, or the name of a stack with --stack.")]


def _stack_hosts(stack: str, variables: Variables | None) -> tuple[list[Host[Any]], list[Problem]]:
    """The nodes of a stack, which have no variables of their own."""
    outputs = stack_outputs(stack)
    try:
        nodes, key = hosts_from_output(outputs.get("inventory") or []), str(outputs["sshPrivateKey"])
    except (KeyError, TypeError, ValueError) as error:
        what = f"{stack} is no stack of Drydock's: its outputs can't be used ({error})"
        return [], [Problem("--stack", what, "Name the stack of a cluster that `pulumi up` has made.")]
    if not nodes:
        return [], [Problem("--stack", f"{stack} has no node", "Run `pulumi up` first.")]
    if not variables:
        return [], []
    value, missing = variables.read({}, "stack", {})
    if missing:
        names = ", ".join(problem.path.rpartition(".")[2] for problem in missing)
        remedy = "Give them defaults in the play, or list the hosts in an inventory."
        return [], [Problem("--stack", f"the nodes of a stack have no variables: {names}", remedy)]
    return [
        Host(Target(node.name, node.address, node.user, key, node.host_keys), value) for node in nodes
    ], []
