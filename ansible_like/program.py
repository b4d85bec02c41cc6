"""The agent's modules as one program, and the few lines that start it on the host."""

from __future__ import annotations

import functools
import importlib.util
import marshal
import threading
import zlib
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

from ansible_like.agent import start
from ansible_like.agent.controller import ALIVE

HERE: Final = Path(__file__).parent
START: Final = start.__name__
START_FILE: Final = "ansible_like/agent/start.py"  # in tracebacks

TOO_OLD: Final = 76
# runs what the last run left compiled there, if that bears the seal that only this controller can make;
# else asks for the program, and tells which compiled code its Python reads
LOADER: Final = rf"""
import os,sys,zlib,marshal
if sys.version_info<(3,8):sys.stderr.write(sys.version);sys.exit({TOO_OLD})
def r(n):
 b=b""
 while len(b)<n:
  c=os.read(0,min(n-len(b),1<<20))
  if not c:sys.exit(1)
  b+=c
 return b
def f():
 c=r(1)
 while c=={ALIVE!r}:c=r(1)
 return zlib.decompress(r(int(c+r(9))))
k=r(64)
d=marshal.loads(f())
d["operations"]=marshal.loads(f())
o="~/.local/state/ansible_like"if os.geteuid()else"/var/lib/ansible_like"
s=d["state_directory"]=d["state_directory"]or os.path.expanduser(o)
try:
 from _blake2 import blake2b
 with open(s+"/agent","rb")as h:t=h.read(64);c=h.read()
 if blake2b(sys.version.encode()+c,key=k).digest()!=t:raise ValueError
 m=marshal.loads(c)
except Exception:m=None
n={{"__name__":"start"}}
if not m:
 from _frozen_importlib_external import MAGIC_NUMBER as g
 os.write(1,b'\n{{"program":"%s"}}\n'%g.hex().encode())
 p=marshal.loads(f())
c=(m or p)["{START}"]
exec(marshal.loads(c)if isinstance(c,bytes)else compile(c,"{START_FILE}","exec"),n)
n["run"](m or n["install"](p,k,s,not d["check"]),d)
"""

ARGUMENTS: Final = ("python3", "-I", "-S", "-X", "utf8", "-c", LOADER)


_once = threading.Lock()  # many hosts' threads want the same at the same moment


def payload(order: Mapping[str, Any], operations: bytes, secret: bytes) -> bytes:
    """What the loader reads: the seal's key, what is to be done how, and the ``packed`` operations.

    ``secret`` is known to this controller alone; the key that is made of it is another one for each version
    of the program.
    """
    with _once:
        key = blake2b(_version(), key=blake2b(secret).digest()).digest()
    return key + packed(order) + operations


def packed(value: Any) -> bytes:
    """As the loader reads it; every Python reads version 2 of marshal, which carries bytes as they are."""
    return _frame(zlib.compress(marshal.dumps(value, 2)))


def program(magic: str) -> bytes:
    """What a host is sent that has no agent compiled by this version of it, sealed for this controller.

    ``magic`` (hex) is its Python's number for compiled code: it gets such code where ours is the same.
    """
    with _once:
        return _compressed(compiled=magic == importlib.util.MAGIC_NUMBER.hex())


@functools.cache
def _sources() -> dict[str, str]:
    paths = (HERE / "operations.py", *sorted((HERE / "agent").glob("[!_]*.py")))
    return {
        ".".join(path.relative_to(HERE.parent).with_suffix("").parts): path.read_text(encoding="utf-8")
        for path in paths
    }


@functools.cache
def _version() -> bytes:
    return blake2b(marshal.dumps(_sources(), 2)).digest()


@functools.cache
def _compressed(*, compiled: bool) -> bytes:
    return packed(
        {name: start.compiled(name, text) if compiled else text for name, text in _sources().items()}
    )


def _frame(packed: bytes) -> bytes:
    return f"{len(packed):010d}".encode() + packed
