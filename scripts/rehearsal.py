"""`drydock rehearsal start|stop|status|env`: the local cloud by hand."""

import shlex

import typer

from scripts.root import become_root

app = typer.Typer(
    help="The local cloud: a real AWS API whose instances are machines that boot here.", no_args_is_help=True
)


@app.command()
def start(
    listed_only: bool = typer.Option(
        False, "--listed-only", help="List instances as running, but boot no machine."
    ),
) -> None:
    """Start the cloud and make the project's stacks in it, `rehearsal` selected."""
    become_root()
    from rehearsal import pulumi_cli, voyage

    info = voyage.start_cloud(boot=not listed_only)
    for stack in pulumi_cli.stacks():
        stack.init()
    pulumi_cli.Stack(voyage.STACK).select()
    print(
        f"the cloud answers at {info.endpoint}"
        + (" (instances are listed, not booted)" if listed_only else "")
    )
    print('next: eval "$(drydock rehearsal env)" && pulumi up')


@app.command()
def stop() -> None:
    """Remove everything the cloud made, whatever state it is in: nodes, mounts, rules, Pulumi state."""
    become_root()
    from rehearsal import voyage

    removed = voyage.stop_cloud()
    print("\n".join(f"removed {thing}" for thing in removed) or "nothing to remove")


@app.command()
def status() -> None:
    """Show whether a cloud runs, and its nodes."""
    from rehearsal import cloud

    print(cloud.status())


@app.command()
def env() -> None:
    """Print the lines that point this shell at the cloud: eval "$(drydock rehearsal env)"."""
    from cluster.problems import BadInput, Problem
    from rehearsal import cloud, pulumi_cli

    if cloud.status().pid is None:
        raise BadInput(
            [Problem("cloud", "no cloud runs on this machine", "start it: drydock rehearsal start")]
        )
    for name, value in pulumi_cli.environment().items():
        print(f"export {name}={shlex.quote(value)}")
