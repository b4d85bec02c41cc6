"""The stack's settings, typed: what Pulumi.<stack>.yaml may say, and every problem with what it does say."""

import json
from collections.abc import Mapping
from typing import Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cluster.problems import BadInput, Problem
from cluster.settings import Bool, Int, Number, OptionalStr, Section, Str, problem_of, without


class Model(Section):
    """Which model is served, and in what precision."""

    source: Str = Field(
        description="a local directory with the model, or a Hugging Face id", examples=["Qwen/Qwen3-8B"]
    )
    revision: OptionalStr = Field(
        default="", description="the commit of a Hugging Face id", examples=["main"]
    )
    name: OptionalStr = Field(default="", description="the name that clients ask for", examples=["qwen3-8b"])
    max_model_len: Int | None = Field(
        default=None, ge=1, description="the longest prompt plus answer, in tokens", examples=[8192]
    )
    dtype: Literal["auto", "bfloat16", "float16", "half", "float32"] = Field(
        default="auto", description="the type of activations", examples=["bfloat16"]
    )
    quantization: Str | None = Field(
        default=None, description="vLLM's quantization, null = what the checkpoint says", examples=["awq"]
    )
    kv_cache_dtype: Literal["auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2"] = Field(
        default="auto", description="the type of the KV cache", examples=["fp8"]
    )

    @property
    def is_local(self) -> bool:
        """Whether ``source`` is a directory; a Hugging Face id is ``name`` or ``owner/name``."""
        return self.source.startswith(("/", "~", "."))

    @property
    def served_name(self) -> str:
        """The name clients ask for: ``name``, else the id or the directory's own name."""
        return self.name or (self.source.rstrip("/").rsplit("/", 1)[-1] if self.is_local else self.source)


class Nodes(Section):
    """The machines: how many of which type, from which image."""

    instance_type: Str = Field(description="an EC2 instance type", examples=["g6e.xlarge"])
    count: Int = Field(description="the number of nodes", examples=[2])
    image: Str = Field(
        description="an ami-… id or an SSM parameter that holds one", examples=["ami-0123456789abcdef0"]
    )
    user: Str = Field(default="ubuntu", description="the image's login user", examples=["ubuntu"])
    root_volume_gib: Int = Field(default=100, description="the root volume's size in GiB", examples=[100])
    data_volume_gib: Int = Field(
        default=0, ge=0, description="a data volume's size in GiB, 0 = instance store or root", examples=[500]
    )


class Layout(Section):
    """How the model is spread over the accelerators."""

    tensor_parallel_size: Int = Field(default=1, ge=1, description="tensor parallel size", examples=[8])
    pipeline_parallel_size: Int = Field(default=1, ge=1, description="pipeline parallel size", examples=[2])
    data_parallel_size: Int = Field(default=1, ge=1, description="data parallel size", examples=[1])

    @property
    def ranks(self) -> int:
        """Workers in all: TP x PP x DP."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size


class Readiness(Section):
    """One question and the words that its answer must hold before the cluster counts as up."""

    prompt: Str = Field(description="a question", examples=["What is the capital of France?"])
    answer: Str = Field(description="words that the right answer holds", examples=["Paris"])


class Serving(Section):
    """How vLLM serves."""

    port: Int = Field(default=8000, ge=1, le=65535, description="the API's port", examples=[8000])
    gpu_memory_utilization: Number = Field(
        default=0.9, description="the share of memory that vLLM takes", examples=[0.9]
    )
    max_num_seqs: Int | None = Field(
        default=None, ge=1, description="the most requests at once, null = vLLM's default", examples=[256]
    )
    profile: Literal["balanced", "throughput", "latency"] | None = Field(
        default=None,
        description="what batches are tuned for, null = vLLM's defaults",
        examples=["throughput"],
    )
    extra_args: tuple[Str, ...] = Field(
        default=(), description="more arguments of `vllm serve`", examples=[["--enable-expert-parallel"]]
    )
    readiness: Readiness = Field(
        default=Readiness(prompt="What is the capital of France?", answer="Paris"),
        description="the question asked before the cluster counts as up",
        examples=[{"prompt": "What is the capital of France?", "answer": "Paris"}],
    )
    deadline_s: Int = Field(
        default=3600,
        ge=1,
        description="seconds until serving must answer, the weights' load included",
        examples=[3600],
    )


class Network(Section):
    """Where the nodes live."""

    vpc_cidr: Str = Field(default="10.77.0.0/16", description="the VPC's range", examples=["10.77.0.0/16"])
    availability_zone: Str | None = Field(
        default=None, description="the zone of all nodes, null = the region's first", examples=["us-east-1a"]
    )
    public_address: Bool = Field(
        default=False, description="whether nodes get a public address", examples=[True]
    )


class Access(Section):
    """Who may come in; nobody else does."""

    ssh_cidrs: tuple[Str, ...] = Field(
        min_length=1, description="the ranges that may SSH to nodes", examples=[["203.0.113.7/32"]]
    )
    api_cidrs: tuple[Str, ...] = Field(
        min_length=1, description="the ranges that may call the API", examples=[["203.0.113.7/32"]]
    )


class Capacity(Section):
    """How the machines are bought."""

    market: Literal["on-demand", "spot", "capacity-block", "reservation"] = Field(
        default="on-demand", description="how capacity is bought", examples=["on-demand"]
    )
    reservation_id: Str | None = Field(
        default=None, description="the capacity reservation", examples=["cr-0123456789abcdef0"]
    )


class StackConfig(BaseModel):
    """All settings of one stack; the aliases are the keys of Pulumi.<stack>.yaml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: Str = Field(alias="aws:region", description="the AWS region", examples=["us-east-1"])
    model: Model = Field(alias="drydock:model", description="the model to serve")
    nodes: Nodes = Field(alias="drydock:nodes", description="the machines")
    layout: Layout = Field(default=Layout(), alias="drydock:layout", description="the parallel sizes")
    serving: Serving = Field(default=Serving(), alias="drydock:serving", description="vLLM's settings")
    network: Network = Field(default=Network(), alias="drydock:network", description="the network")
    access: Access = Field(alias="drydock:access", description="who may come in")
    capacity: Capacity = Field(
        default=Capacity(), alias="drydock:capacity", description="how capacity is bought"
    )
    max_hourly_usd: Number | None = Field(
        default=None, gt=0, alias="drydock:maxHourlyUsd", description="the most USD per hour", examples=[5]
    )


def parse(raw: Mapping[str, object]) -> StackConfig:
    """The settings from the stack's config by full key (``drydock:nodes``); BadInput has every problem."""
    config, problems = examine(raw)
    if config is None or problems:
        raise BadInput(problems)
    return config


def examine(raw: Mapping[str, object]) -> tuple[StackConfig | None, tuple[Problem, ...]]:
    """The settings and what is wrong with them.

    Where unknown keys are the only fault the settings come without them, so that the rules can
    add their problems to the same report.
    """
    ours = {
        key: _decode(value) for key, value in raw.items() if key == "aws:region" or key.startswith("drydock:")
    }
    try:
        return StackConfig.model_validate(ours), ()
    except ValidationError as refused:
        errors = refused.errors(include_url=False)
    problems = tuple(
        problem_of(error, StackConfig, owner="Drydock", file="Pulumi.<stack>.yaml") for error in errors
    )
    unknown = [error["loc"] for error in errors if error["type"] == "extra_forbidden"]
    if len(unknown) < len(errors):
        return None, problems
    return StackConfig.model_validate(without(ours, unknown)), problems


def _decode(value: object) -> object:
    """Pulumi hands out objects, lists, numbers and booleans as JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return cast(object, json.loads(value))
    except ValueError:
        return value
