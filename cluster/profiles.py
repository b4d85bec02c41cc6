"""What vLLM is tuned for: throughput, latency, or both, as flags with the reason of each."""

from dataclasses import dataclass, replace
from typing import Literal

Profile = Literal["balanced", "throughput", "latency"]


@dataclass(frozen=True)
class Argument:
    """One flag of `vllm serve` with its value ("" = none) and why it is there."""

    flag: str
    value: str
    reason: str

    @property
    def words(self) -> tuple[str, ...]:
        """As it stands on the command line."""
        return (self.flag, self.value) if self.value else (self.flag,)


@dataclass(frozen=True)
class Tuning:
    """The numbers of a profile, each with its reason."""

    utilization: float
    utilization_reason: str
    max_num_batched_tokens: int
    batched_reason: str
    max_num_seqs: int
    seqs_reason: str

    def arguments(self) -> tuple[Argument, ...]:
        """The profile's own flags; no --enforce-eager, which cost two thirds of the speed of one request."""
        return (
            Argument("--max-num-batched-tokens", str(self.max_num_batched_tokens), self.batched_reason),
            Argument("--max-num-seqs", str(self.max_num_seqs), self.seqs_reason),
        )


TUNINGS: dict[Profile, Tuning] = {
    "balanced": Tuning(
        0.92,
        "vLLM's own default: what is left covers fragmentation",
        8192,
        "vLLM's own choice for H100 and H200: prompts advance fast, answers are not held up for long",
        256,
        "requests at once; more would wait for KV cache with long contexts anyway",
    ),
    "throughput": Tuning(
        0.95,
        "more KV cache, so more requests at once; little else may run on the GPU",
        16384,
        "large batches of prompt tokens use the GPU better; twice as many only took memory",
        256,
        "requests at once; twice as many filled an H100's KV cache, and lost 5 % to what was computed again",
    ),
    "latency": Tuning(
        0.9,
        "some memory stays free, so that nothing is ever recomputed for lack of it",
        4096,
        "short batches: an answer's next token waits little for other requests' prompts",
        64,
        "few requests at once: each gets more of the GPU",
    ),
}


def tuning(profile: Profile, concurrency: int = 0) -> Tuning:
    """The numbers of a profile, for at least so many requests at once."""
    tuned = TUNINGS[profile]
    if concurrency <= tuned.max_num_seqs:
        return tuned
    return replace(tuned, max_num_seqs=concurrency, seqs_reason="as many requests at once as asked for")
