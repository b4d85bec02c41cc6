"""Numbers and sections out of a config.json; what is wrong with them is collected, not raised."""

from collections.abc import Mapping
from typing import TypeGuard

from cluster.problems import Problem

REMEDY = "Take the config.json of the model's own repository."
MOST = 10**9
"""No count of a model comes near it; a larger one is broken, and would take forever to reckon with."""
DTYPES = ("bfloat16", "float16", "half", "float32")


class Reader:
    """Reads one section of a config.json; ``problems`` has what was wrong with it."""

    def __init__(self, section: Mapping[str, object], defaults: Mapping[str, int], path: str) -> None:
        self.section, self.defaults, self.path = section, defaults, path
        self.problems: list[Problem] = []

    def count(self, key: str, default: int | None = None, most: int = MOST) -> int:
        """A whole number above 0; 1 in place of one that is missing or broken."""
        value = self.section.get(key)
        if value is None:
            value = self.defaults.get(key, default)
        if _is_whole(value) and value > most:
            self.wrong(key, f"is {shown(value)}, more than any model has")
        elif _is_whole(value) and value > 0:
            return value
        else:
            self.wrong(
                key, "is missing" if value is None else f"is {shown(value)}, not a whole number above 0"
            )
        return 1

    def optional(self, *keys: str, most: int = MOST) -> int:
        """The first of these that is there; 0 where none is."""
        present = [key for key in keys if self.section.get(key)]
        return self.count(present[0], most=most) if present else self.defaults.get(keys[0], 0)

    def listed(self, key: str) -> list[object] | None:
        """A list, or None where there is none."""
        value = self.section.get(key)
        if value is None or isinstance(value, list):
            return value
        self.wrong(key, f"is {shown(value)}, not a list")
        return None

    def dtype(self, *values: object) -> str:
        """The first type of plain weights that is told; bfloat16 where none is."""
        value = next((value for value in values if value), DTYPES[0])
        if value in DTYPES:
            return str(value)
        self.wrong("torch_dtype", f"is {shown(value)}, none of {', '.join(DTYPES)}")
        return DTYPES[0]

    def inner(self, config: Mapping[str, object], key: str) -> Mapping[str, object] | None:
        """A section of ``config``, or None where there is none."""
        value = config.get(key)
        if value is None or isinstance(value, Mapping):
            return value
        self.wrong(key, f"is {shown(value)}, not a JSON object")
        return None

    def quantization(self, config: Mapping[str, object]) -> Mapping[str, object] | None:
        """The quantization_config where it is sound: a default for a broken number would be a guess."""
        section = self.inner(config, "quantization_config") or self.inner(self.section, "quantization_config")
        if not section:
            return None
        read = Reader(section, {}, f"{self.path}: quantization_config")
        method = section.get("quant_method")
        if not isinstance(method, str) or not method:
            read.wrong("quant_method", "is missing" if method is None else f"is {shown(method)}, not a name")
        bits, group, block = (section.get(key) for key in ("bits", "group_size", "weight_block_size"))
        if method in ("awq", "gptq") and bits is not None and bits not in (2, 3, 4, 8):
            read.wrong("bits", f"is {shown(bits)}, none of 2, 3, 4 and 8")
        if group is not None and not (_is_whole(group) and (group == -1 or 0 < group <= MOST)):
            read.wrong("group_size", f"is {shown(group)}, neither -1 nor a whole number above 0")
        blocks = {"weight_block_size": block}
        groups = read.inner(section, "config_groups") or {}
        for name, inner in groups.items():
            weights = inner.get("weights") if isinstance(inner, Mapping) else None
            if isinstance(weights, Mapping):
                blocks[f"config_groups.{name}.weights.block_structure"] = weights.get("block_structure")
        for key, size in blocks.items():
            if size is not None and not _is_pair(size):
                read.wrong(key, f"is {shown(size)}, not two whole numbers above 0")
        for key in ("modules_to_not_convert", "ignore"):
            read.listed(key)
        self.problems += read.problems
        return None if read.problems else section

    def wrong(self, key: str, what: str) -> None:
        """Note what is wrong with a key."""
        self.problems.append(Problem(f"{self.path}: {key}", what, REMEDY))


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(_is_whole(n) and n > 0 for n in value)


def shown(value: object) -> str:
    """A value as it stands in a message, which a long one must not fill."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
