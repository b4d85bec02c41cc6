"""paramiko without invoke, which only its reading of ssh_config's ``Match exec`` uses, and we do not.

invoke loads asyncio, yaml and unittest: a quarter of the time that a program with this engine takes to start.
"""

from __future__ import annotations

import sys

_invoke = sys.modules.pop("invoke", None)
sys.modules["invoke"] = None  # type: ignore[assignment] # how Python is told that there is none
try:
    import paramiko
finally:
    del sys.modules["invoke"]
    if _invoke:
        sys.modules["invoke"] = _invoke

__all__ = ["paramiko"]
