"""paramiko, loaded at its first use, and without invoke.

Its first use comes when the hosts have been connected to: what they do to greet us, they do while it loads.
Only its reading of ssh_config's ``Match exec``, which is none of ours, uses invoke, and that loads asyncio,
yaml and unittest: a quarter of the time that a program with this engine would take to start.
"""

from __future__ import annotations

import sys
import threading
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import paramiko

_loading = threading.Lock()


def load() -> ModuleType:
    """The module itself."""
    with _loading:
        if "paramiko" not in sys.modules:
            _load_without_invoke()
        return sys.modules["paramiko"]


def _load_without_invoke() -> None:
    invoke = sys.modules.pop("invoke", None)
    sys.modules["invoke"] = None  # type: ignore[assignment] # how Python is told that there is none
    try:
        import paramiko  # noqa: F401, PLC0415
    finally:
        del sys.modules["invoke"]
        if invoke:
            sys.modules["invoke"] = invoke


class _Later:
    def __getattr__(self, name: str) -> Any:
        return getattr(load(), name)


if not TYPE_CHECKING:
    paramiko = _Later()

__all__ = ["load", "paramiko"]
