"""`drydock rehearse`: the whole voyage on this machine, timed phase by phase."""

import typer

from scripts.root import become_root

KEPT = """
The cluster is up and stays up. In this folder, with
`source .venv/bin/activate && eval "$(drydock rehearsal env)"` in your shell:

  talk to it      curl -s {endpoint}/chat/completions \\
                    -H "Authorization: Bearer $(pulumi stack output --show-secrets apiKey)" \\
                    -H 'Content-Type: application/json' \\
                    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "{question}"}}]}}'
  ssh into it     drydock ssh {node}
  change it       pulumi config set --path drydock:model.maxModelLen 384 && pulumi up
  take it down    pulumi destroy && drydock rehearsal stop
"""


def rehearse(
    keep: bool = typer.Option(False, "--keep", help="Leave the cluster up and say how to use it."),
    set_up_s: float = typer.Option(0.0, hidden=True, help="Seconds that set-up took, for the timeline."),
) -> None:
    """Stand up a two-node vLLM cluster here, question it, load it, change it, take it down, audit."""
    become_root()
    from rehearsal import paths
    from rehearsal.timeline import Timeline
    from rehearsal.voyage import STACK, Voyage, question_and_answer

    timeline_file = paths.REPO / "build" / "rehearsal" / "timeline.json"
    with Timeline() as timeline:
        if set_up_s:
            timeline.add_before("set-up", set_up_s)
        try:
            cluster = Voyage(timeline, print).sail(keep=keep)
        finally:
            timeline.write(timeline_file)
    print(f"\n{timeline.table()}\n\nwritten to {timeline_file.relative_to(paths.REPO)}")
    if cluster:
        question, _ = question_and_answer(paths.REPO / f"Pulumi.{STACK}.yaml")
        print(
            KEPT.format(
                endpoint=cluster.endpoint, model=cluster.model, question=question, node=cluster.nodes[0].name
            )
        )
