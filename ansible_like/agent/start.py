"""The agent's first code on the host: keep the compiled modules for the next run, and find them at an import.

An import costs a run that changes nothing more than its work does. So the agent's modules see small stand-ins
for what is slow to load (``light``), and the rest of the standard library only when they use it.
"""

from __future__ import annotations

import builtins
import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

STAND_IN = "ansible_like.agent.light"
LIGHT = ("contextlib", "dataclasses", "pathlib", "typing")
LATER = ("json", "re", "shlex", "shutil", "socket", "uuid")
BUILT_IN = {"collections.abc": "_collections_abc", "signal": "_signal"}

_ModuleSpec: Any = type(sys.__spec__)  # to import it would cost a millisecond


def compiled(name: str, source: str) -> bytes:
    """A module's code, the same for every Python that numbers it alike, however that one was started."""
    return marshal.dumps(compile(source, f"{name.replace('.', '/')}.py", "exec", 0, True, 0))


def install(program: Mapping[str, str | bytes], key: bytes, state: str, keep: bool) -> dict[str, bytes]:
    """Each module's code, compiled here where its source came.

    Where ``keep`` holds and the host lets us, all of it stays under ``state``, sealed with the key.
    """
    codes = {
        name: module if isinstance(module, bytes) else compiled(name, module)
        for name, module in program.items()
    }
    if keep:
        try:  # noqa: SIM105 - contextlib is slow to load
            _keep(marshal.dumps(codes), key, state)
        except (ImportError, OSError, ValueError):  # without it the next run only takes longer
            pass
    return codes


def _keep(body: bytes, key: bytes, state: str) -> None:
    from _blake2 import blake2b  # noqa: PLC0415 - hashlib would load OpenSSL

    os.makedirs(state, 0o700, exist_ok=True)
    # a fixed name: what two first runs at once make of it is no sealed file, and is replaced by the next
    temporary = f"{state}/.agent.ansible_like"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        with open(os.open(temporary, flags, 0o600), "wb") as file:
            file.write(blake2b(sys.version.encode() + body, key=key).digest() + body)
        os.replace(temporary, f"{state}/agent")
    except OSError:
        os.unlink(temporary)
        raise


def run(codes: Mapping[str, bytes], desired: Mapping[str, Any]) -> None:
    """Make the modules importable, and lead through the desired state."""
    sys.meta_path.insert(0, Modules(codes))
    import ansible_like.agent.main as main  # noqa: PLC0415, PLR0402 - importable only now

    main.main(desired)


class Modules:
    """Finds the agent's modules by name, and runs each at its first import."""

    def __init__(self, codes: Mapping[str, bytes]) -> None:
        self._codes = codes
        self._packages = {name.rpartition(".")[0] for name in codes} | {"ansible_like"}
        self._namespace = {**vars(builtins), "__import__": self._import}
        self._later = {name: Later(name) for name in LATER}

    def find_spec(self, name: str, *_: object) -> Any:
        if name not in self._codes and name not in self._packages:
            return None
        return _ModuleSpec(name, self, is_package=name in self._packages)

    def create_module(self, _: object) -> None:
        """A plain module will do."""

    def exec_module(self, module: Any) -> None:
        if code := self._codes.get(module.__name__):
            if module.__name__ != STAND_IN:
                vars(module)["__builtins__"] = self._namespace
            exec(marshal.loads(code), vars(module))  # noqa: S102, S302 - our own, sealed or just compiled

    def _import(self, name: str, *more: Any) -> Any:
        if name in LIGHT:
            return __import__(STAND_IN, fromlist=["light"])
        return self._later.get(name) or __import__(BUILT_IN.get(name, name), *more)


class Later:
    """A module of the standard library that is loaded at its first use."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(__import__(self._name), name)
