"""How a model is spread over GPUs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """TP x PP x DP ranks over some nodes; expert parallel spreads whole experts instead of slices."""

    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    expert_parallel: bool = False
    nodes: int = 1

    @property
    def ranks(self) -> int:
        """Workers in all: TP x PP x DP."""
        return self.tensor_parallel_size * self.pipeline_parallel_size * self.data_parallel_size

    def __str__(self) -> str:
        sizes = f"TP{self.tensor_parallel_size}"
        if self.pipeline_parallel_size > 1:
            sizes += f"×PP{self.pipeline_parallel_size}"
        if self.data_parallel_size > 1:
            sizes += f"×DP{self.data_parallel_size}"
        return sizes + ("+EP" if self.expert_parallel else "")
