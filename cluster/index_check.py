"""Whether a checkpoint is as large as its shape says: the shape decides GPU memory, the files decide disk."""

from cluster.shape import ModelShape
from cluster.weights_size import can_count, checkpoint_bytes

MOST_SHARE = 0.005
"""By how much the two may differ before the reader is told."""


def index_note(shape: ModelShape) -> str:
    """One line where the checkpoint's own total differs from the computed one; "" where both agree."""
    told = shape.weights_bytes
    if told is None or not can_count(shape):
        return ""
    computed = checkpoint_bytes(shape)
    share = (told - computed) / computed
    if abs(share) <= MOST_SHARE:
        return ""
    differs = f"{abs(share):.1%} {'more' if share > 0 else 'less'}"
    return (
        f"the checkpoint has {_size(told)}, {differs} than the {_size(computed)} that config.json comes to: "
        "GPU memory is counted from config.json, disk from the checkpoint. "
        "Check that both are of the same model and complete"
    )


def _size(count: int) -> str:
    """Bytes in the unit that suits them."""
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:,.2f} {unit}"
    return f"{count / 1000:,.1f} kB"
