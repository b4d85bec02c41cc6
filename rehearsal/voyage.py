"""The whole voyage on this machine: cloud, up, answer, load, no-op, one change, down, audit."""

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import yaml

from ansible_like.connection import Connection, Target
from cluster.problems import BadInput, Failure
from rehearsal import audit, cloud, paths, pulumi_cli
from rehearsal.pulumi_cli import Stack, Step
from rehearsal.timeline import Timeline

STACK = "rehearsal"
CHANGED_MAX_MODEL_LEN = 384
BENCH_ARGV = (
    "/opt/vllm/bin/vllm", "bench", "serve", "--backend", "openai", "--dataset-name", "random",
    "--random-input-len", "64", "--random-output-len", "32", "--num-prompts", "32", "--max-concurrency", "8",
    "--num-warmups", "2", "--ignore-eos", "--percentile-metrics", "ttft,tpot,itl,e2el",
    "--metric-percentiles", "50,90,99",
)  # fmt: skip


@dataclass(frozen=True)
class Cluster:
    """A cluster that is up, as the stack's outputs describe it. Holds secrets: never print it whole."""

    endpoint: str
    model: str
    nodes: tuple[Target, ...]
    api_key: str

    def __repr__(self) -> str:
        return f"Cluster({self.endpoint}, {self.model}, {len(self.nodes)} nodes)"

    @classmethod
    def from_outputs(cls, outputs: dict[str, Any]) -> "Cluster":
        """Read the outputs of `infra/` (endpoint, model, inventory, apiKey, sshPrivateKey)."""
        nodes = tuple(
            Target(
                name=node["name"],
                address=node["address"],
                user=node["user"],
                private_key=outputs["sshPrivateKey"],
                host_keys=tuple(node["hostKeys"]),
            )
            for node in outputs["inventory"]
        )
        return cls(outputs["endpoint"], outputs["model"], nodes, outputs["apiKey"])


def question_and_answer(stack_file: Path) -> tuple[str, str]:
    """The fixed question and the one right answer that the stack's readiness setting names."""
    readiness = yaml.safe_load(stack_file.read_text())["config"]["drydock:serving"]["readiness"]
    return readiness["prompt"], readiness["answer"]


def ask(cluster: Cluster, question: str) -> str:
    """One chat completion through the endpoint with the openai client, as any application would."""
    client = openai.OpenAI(base_url=cluster.endpoint, api_key=cluster.api_key, timeout=60, max_retries=2)
    completion = client.chat.completions.create(
        model=cluster.model, messages=[{"role": "user", "content": question}], temperature=0, max_tokens=32
    )
    return (completion.choices[0].message.content or "").strip()


def status_without_key(cluster: Cluster) -> int:
    """The HTTP status that the endpoint gives a caller who shows no key."""
    return httpx.get(f"{cluster.endpoint}/models", timeout=30).status_code


def bench(cluster: Cluster) -> str:
    """A few seconds of `vllm bench serve`, run on the head; answers its table."""
    base_url = cluster.endpoint.removesuffix("/v1")
    tokenizer = f"/models/{cluster.model.replace('/', '--')}"
    argv = [*BENCH_ARGV, "--base-url", base_url, "--model", cluster.model, "--tokenizer", tokenizer]
    # The key comes over standard input: an argument or a file would show it to others on the node.
    script = 'read -r OPENAI_API_KEY; export OPENAI_API_KEY; exec "$@"'
    with Connection.open(cluster.nodes[0], deadline_s=30) as head:
        done = head.run(
            ["bash", "-c", script, "bench", *argv], stdin=cluster.api_key.encode() + b"\n", deadline_s=240
        )
    begin = done.stdout.find("============ Serving Benchmark Result")
    return done.stdout[max(begin, 0) :].strip()


class Voyage:
    """One rehearsal from start to audit. `say` gets a plain line at each step."""

    def __init__(self, timeline: Timeline, say: Callable[[str], None]) -> None:
        self._timeline = timeline
        self._say = say
        self._folder = Path(tempfile.mkdtemp(prefix="drydock-voyage-"))
        # A copy, so that the change of one setting leaves the checkout as it was.
        self._stack_file = Path(shutil.copy(paths.REPO / f"Pulumi.{STACK}.yaml", self._folder))
        self._stack = Stack(STACK, config_file=self._stack_file)
        self._machine_before: audit.Snapshot = {}
        self._cloud_before: audit.Snapshot = {}
        self._endpoint = ""

    def sail(self, *, keep: bool) -> Cluster | None:
        """Go the whole way; with `keep`, stop once the cluster has answered and leave it up.

        Raises Failure when anything is not as it must be; whatever happens, nothing stays behind
        (unless `keep` was asked for and the cluster answered).
        """
        self._machine_before = audit.machine()
        try:
            cluster = self._until_answered()
            if keep:
                return cluster
            self._under_load(cluster)
            self._again_and_changed(cluster)
            self._down()
        except BadInput:  # refused before anything was begun: a cloud that runs already is another's
            raise
        except BaseException:
            self._say("clearing away what the rehearsal made")
            with suppress(Failure):
                self._clear()
            raise
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        return None

    def _until_answered(self) -> Cluster:
        with self._timeline.phase("cloud start"):
            self._endpoint = start_cloud().endpoint
            self._cloud_before = audit.cloud(self._endpoint)
        with self._timeline.phase("pulumi up"):
            self._stack.init()
            self._stack.up()
        with self._timeline.phase("question and answer"):
            cluster = Cluster.from_outputs(self._stack.outputs())
            question, answer = question_and_answer(self._stack_file)
            check_answer(cluster, question, answer)
            self._say(f"asked {cluster.model} at {cluster.endpoint}: {question}\nanswer: {answer}")
            status = status_without_key(cluster)
            if status != httpx.codes.UNAUTHORIZED:
                raise Failure(
                    f"without a key the endpoint answered {status}, not 401", "see the head's vllm arguments"
                )
            self._say("without the key: 401")
        return cluster

    def _under_load(self, cluster: Cluster) -> None:
        with self._timeline.phase("vllm bench serve"):
            self._say(bench(cluster))

    def _again_and_changed(self, cluster: Cluster) -> None:
        with self._timeline.phase("pulumi up, no change"):
            self._stack.up("--expect-no-changes")
        with self._timeline.phase("pulumi up, one setting"):
            set_max_model_len(self._stack_file, CHANGED_MAX_MODEL_LEN)
            only_serving(self._stack.up())
            check_answer(cluster, *question_and_answer(self._stack_file))

    def _down(self) -> None:
        with self._timeline.phase("pulumi destroy"):
            self._stack.destroy()
            nothing_left("in the cloud after pulumi destroy", self._cloud_before, audit.cloud(self._endpoint))
        with self._timeline.phase("cloud stop and audit"):
            self._clear()

    def _clear(self) -> None:
        stop_cloud()
        nothing_left("on this machine after the cloud's stop", self._machine_before, audit.machine())
        self._say("audit: nothing left in the cloud or on this machine")


def start_cloud(*, boot: bool = True) -> cloud.CloudInfo:
    """Start the local cloud and make the Pulumi home that goes with it."""
    info = cloud.start(boot=boot)
    pulumi_cli.prepare_home()
    return info


def stop_cloud() -> list[str]:
    """Stop the local cloud and remove the Pulumi state that described it; answers what was removed."""
    removed = cloud.stop()
    if paths.STATE.exists():
        shutil.rmtree(paths.STATE)
        removed.append(str(paths.STATE))
    return removed


def check_answer(cluster: Cluster, question: str, answer: str) -> None:
    """Raise Failure unless the model gives the one right answer."""
    given = ask(cluster, question)
    if given != answer:
        raise Failure(
            f"{cluster.model} at {cluster.endpoint} answered {given!r} to {question!r}; right is {answer!r}",
            "a wrong answer from this model means wrong weights, sharding or chat template on a node",
        )


def only_serving(done: list[Step]) -> None:
    """Raise Failure unless a run touched the serving resource and nothing else."""
    names = [f"{step.operation} {step.name}" for step in done]
    if not done or any("drydock:index:Replica" not in step.name for step in done):
        raise Failure(
            "a change of max model length must update the serving resource alone; it did: "
            + (", ".join(names) or "nothing"),
            "the digest of the other resources must not depend on that setting",
        )


def nothing_left(where: str, before: audit.Snapshot, after: audit.Snapshot) -> None:
    """Raise Failure naming everything that is there now and was not before."""
    left = audit.left_over(before, after)
    if left:
        raise Failure(f"left {where}:\n{audit.report(left)}", "`drydock rehearsal stop` removes what is ours")


def set_max_model_len(stack_file: Path, max_model_len: int) -> None:
    """Change the one setting, as `pulumi config set --path drydock:model.maxModelLen` would."""
    document = yaml.safe_load(stack_file.read_text())
    document["config"]["drydock:model"]["maxModelLen"] = max_model_len
    stack_file.write_text(yaml.safe_dump(document, sort_keys=False))
