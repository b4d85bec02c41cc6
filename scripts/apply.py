"""`drydock apply PLAY`: run a play by hand, over SSH."""

from pathlib import Path
from typing import Annotated

import typer


def apply(
    play: Annotated[
        str, typer.Argument(metavar="PLAY.py[:NAME]", help="A Python file that holds a Play, and its name.")
    ],
    *,
    hosts: Annotated[Path | None, typer.Option(help="An inventory: a YAML file of hosts.")] = None,
    stack: Annotated[str | None, typer.Option(help="Instead: the nodes of this Pulumi stack.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Change nothing, say what would change.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show what changes in files.")] = False,
    limit: Annotated[
        list[str] | None, typer.Option(metavar="NAME|GLOB", help="Only these hosts; repeatable.")
    ] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="Only roles with this tag, and what they need; repeatable."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, as docs/apply.md says.")] = False,
    state_directory: Annotated[
        str | None,
        typer.Option(
            help="Where hosts keep their lock and journal.", show_default="/var/lib/ansible_like as root"
        ),
    ] = None,
    ask_sudo_password: Annotated[
        bool, typer.Option("--ask-sudo-password", help="Ask for the password that sudo wants on the hosts.")
    ] = False,
    connect_deadline_s: Annotated[float, typer.Option(min=1, help="Seconds until SSH must answer.")] = 300,
) -> None:
    """Bring hosts to what a play says, over SSH. Exit code 1: a host failed; 2: bad input; 130: Ctrl-C."""
    from getpass import getpass

    from scripts.apply_input import compiled, with_sudo_password
    from scripts.apply_run import run, view_of

    rollout = compiled(play, hosts, stack, tags or (), limit or ())
    if ask_sudo_password:
        rollout = with_sudo_password(rollout, getpass("sudo password: "))
    view = view_of(rollout, check=check, as_json=as_json)
    result = run(
        rollout,
        view,
        check=check,
        diff=diff,
        connect_deadline_s=connect_deadline_s,
        state_directory=state_directory,
    )
    raise typer.Exit(result.exit_code)
