"""The agent's modules as one program, and the few lines that start it on the host."""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

# what a module needs stands before it
MODULES: Final = (
    "ansible_like.operations",
    "ansible_like.agent.values",
    "ansible_like.agent.processes",
    "ansible_like.agent.host",
    "ansible_like.agent.files",
    "ansible_like.agent.lines",
    "ansible_like.agent.packages",
    "ansible_like.agent.users",
    "ansible_like.agent.kernel",
    "ansible_like.agent.services",
    "ansible_like.agent.storage",
    "ansible_like.agent.commands",
    "ansible_like.agent.main",
)

TOO_OLD: Final = 76
LOADER: Final = f"""\
import os,sys,zlib
if sys.version_info<(3,8):sys.stderr.write(sys.version);sys.exit({TOO_OLD})
def r(n):
 b=b""
 while len(b)<n:
  c=os.read(0,n-len(b))
  if not c:sys.exit(1)
  b+=c
 return b
exec(zlib.decompress(r(int(r(10)))))
"""

_START: Final = """\
import sys,types
for package in ("ansible_like","ansible_like.agent"):
    sys.modules[package]=types.ModuleType(package)
for name,source in MODULES:
    module=types.ModuleType(name)
    parent,_,last=name.rpartition(".")
    sys.modules[name]=module
    setattr(sys.modules[parent],last,module)
    exec(compile(source,name,"exec"),module.__dict__)
module.main()
"""

ARGUMENTS: Final = ("python3", "-I", "-S", "-X", "utf8", "-c", LOADER)


def payload(desired: Mapping[str, Any]) -> bytes:
    """All that the loader and the agent read: the program, then the desired state, each a frame."""
    return _frame(_program()) + _frame(json.dumps(desired).encode())


@functools.cache
def _program() -> bytes:
    folder = Path(__file__).parent
    sources = [
        (name, (folder.parent / (name.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
        for name in MODULES
    ]
    return f"MODULES={sources!r}\n{_START}".encode()


def _frame(data: bytes) -> bytes:
    packed = zlib.compress(data)
    return f"{len(packed):010d}".encode() + packed
