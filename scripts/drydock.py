"""The `drydock` command: one file per subcommand beside this one; here only the way in and the exit codes."""

import sys

import typer

from cluster.problems import BadInput, Failure
from scripts import apply, cost, plan, rehearsal, rehearse, ssh

app = typer.Typer(
    help="vLLM on AWS GPU instances with one `pulumi up`, rehearsed for real on this machine first.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,  # plain help: drawing it with rich takes longer than any command here
)
app.add_typer(rehearsal.app, name="rehearsal")
app.command("rehearse")(rehearse.rehearse)
app.command("cost")(cost.cost)
app.command("plan")(plan.plan)
app.command("apply")(apply.apply)
app.command("ssh", context_settings={"ignore_unknown_options": True})(ssh.ssh)


def main() -> None:
    """Run the command line: exit code 0 when all is well, 1 when work failed, 2 for bad input."""
    try:
        app()
    except BadInput as refusal:
        print(f"drydock: {refusal}", file=sys.stderr)
        sys.exit(2)
    except Failure as failure:
        print(f"drydock: {failure}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("drydock: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
