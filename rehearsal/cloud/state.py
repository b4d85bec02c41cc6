"""The API's whole memory on disk, written after each request that changed it, read by the next daemon."""

import marshal
import pickle
import sys
from collections import defaultdict
from pathlib import Path
from types import FunctionType
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)
from moto.backends import get_backend
from moto.core.base_backend import BackendDict
from moto.s3.models import FakeKey

PRIVATE_KEYS = (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey)

Snapshot = dict[str, dict[str, dict[str, Any]]]
"""Service → account → region → moto's backend."""


def save(folder: Path) -> None:
    """Writes every backend in use, atomically.

    An object's bytes in S3 go to a file of their own, once: a snapshot does not copy the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    used: set[str] = set()
    new = folder / "backends.new"
    with new.open("wb") as file:
        _Pickler(file, folder, used).dump(_everything())
    new.replace(folder / "backends.pickle")
    for blob in folder.glob("*.blob"):
        if blob.name not in used:
            blob.unlink()


def load(folder: Path) -> bool:
    """Puts the snapshot in moto's place; whether there was one."""
    file = folder / "backends.pickle"
    if not file.exists():
        return False
    # Our own file in a folder that only root writes to.
    snapshot: Snapshot = pickle.loads(file.read_bytes())  # noqa: S301
    for service, accounts in snapshot.items():
        backends: Any = get_backend(service)  # type: ignore[call-overload]
        for account, regions in accounts.items():
            for region, backend in regions.items():
                dict.__setitem__(backends[account], region, backend)
    return True


def _everything() -> Snapshot:
    return {
        backends.service_name: {account: dict(regions) for account, regions in backends.items()}
        for backends in _in_use()
    }


def _in_use() -> list[BackendDict[Any]]:
    return BackendDict._instances  # type: ignore[misc]


class _Pickler(pickle.Pickler):
    def __init__(self, file: Any, folder: Path, used: set[str]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._folder, self._used = folder, used

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, FunctionType) and "<locals>" in value.__qualname__ and not value.__closure__:
            return _function, (value.__module__, marshal.dumps(value.__code__))  # a default dict's factory
        if (
            isinstance(value, defaultdict) and type(value) is not defaultdict
        ):  # its class makes its own factory
            state = (vars(value), value.default_factory)
            return _new, (type(value),), state, None, iter(value.items()), _fill_dictionary
        if isinstance(value, PRIVATE_KEYS):  # KMS holds one for the account's default encryption
            der = value.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
            return _private_key, (der,)
        if not isinstance(value, FakeKey) or value.disposed:
            return NotImplemented
        blob = self._folder / f"{value.etag.strip(chr(34))}-{value.contentsize}.blob"
        self._used.add(blob.name)
        if not blob.exists():
            new = blob.with_suffix(".new")
            new.write_bytes(value.value)
            new.replace(blob)
        rest = {name: v for name, v in vars(value).items() if name not in ("_value_buffer", "lock")}
        return _new, (FakeKey,), {**rest, "value": blob}, None, None, _fill_object


def _function(module: str, code: bytes) -> FunctionType:
    return FunctionType(marshal.loads(code), vars(sys.modules[module]))  # noqa: S302 - our own file, see `load`


def _private_key(der: bytes) -> Any:
    return load_der_private_key(der, None)


def _new(cls: Any) -> Any:
    return cls.__new__(cls)


def _fill_dictionary(dictionary: defaultdict[Any, Any], saved: tuple[dict[str, Any], Any]) -> None:
    vars(dictionary).update(saved[0])
    dictionary.default_factory = saved[1]


def _fill_object(key: FakeKey, saved: dict[str, Any]) -> None:
    key.__setstate__({**saved, "value": saved["value"].read_bytes()})
