# mypy: disable-error-code="no-untyped-def,no-untyped-call,import-not-found"
"""What the agent uses of ``typing``, ``dataclasses``, ``contextlib`` and ``pathlib``, in a few lines.

Theirs take 30 ms to load. Here is only what an agent needs: records that are made and read. Whatever else is
asked for comes from the real modules.
"""

from __future__ import annotations

from _collections import _tuplegetter

TYPE_CHECKING = False


class _Form:
    """Stands where types do."""

    def __getitem__(self, _):
        return self


Any = Final = Union = Optional = Literal = ClassVar = _Form()


class _NamedTupleMeta(type):
    def __new__(meta, name, bases, namespace):
        if not bases:
            return type.__new__(meta, name, bases, namespace)
        fields = tuple(namespace.get("__annotations__", ()))
        defaults = {field: namespace[field] for field in fields if field in namespace}

        def make(cls, *values, **named):
            if len(values) == len(fields) and not named:
                return tuple.__new__(cls, values)
            rest = tuple(
                named.pop(each) if each in named else defaults[each] for each in fields[len(values) :]
            )
            if named or len(values) > len(fields):
                raise TypeError(f"{name} takes {', '.join(fields)}")
            return tuple.__new__(cls, values + rest)

        getters = {field: _tuplegetter(index, "") for index, field in enumerate(fields)}
        return type(name, (tuple,), {**namespace, **getters, "__new__": make, "_fields": fields})


class NamedTuple(metaclass=_NamedTupleMeta):
    pass


class _Default:
    def __init__(self, make):
        self.make = make


_MISSING = object()


def field(default=_MISSING, default_factory=None, **_):
    return _Default(default_factory or (lambda: default))


def dataclass(cls=None, **_):
    if cls is None:
        return dataclass
    fields = tuple(cls.__annotations__)

    def fill(self, *values, **named):
        for each in fields[len(values) :]:
            default = vars(cls).get(each, _MISSING)
            if each not in named and isinstance(default, _Default):
                named[each] = default.make()
            elif each not in named and default is _MISSING:
                named[each] = _MISSING
            if named.get(each) is _MISSING:
                raise TypeError(f"{cls.__name__} needs {each}")
        self.__dict__.update(zip(fields, values))  # noqa: B905 - Python 3.8 has no strict
        self.__dict__.update(named)

    cls.__init__ = fill
    return cls


class suppress:  # noqa: N801 - its name in the standard library
    def __init__(self, *kinds):
        self._kinds = kinds

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        return kind is not None and issubclass(kind, self._kinds)


def Path(*parts):  # noqa: N802 - its name in the standard library
    """A real path, of a module that is loaded only now."""
    import pathlib  # noqa: PLC0415

    return pathlib.Path(*parts)


class _Managed:
    def __init__(self, steps):
        self._steps = steps

    def __enter__(self):
        return next(self._steps)

    def __exit__(self, kind, error, trace):
        if kind is None:
            next(self._steps, None)
            return False
        try:
            self._steps.throw(error)
        except StopIteration:
            return True
        except BaseException as raised:
            if raised is not error:
                raise
        return False


def contextmanager(make):
    return lambda *values, **named: _Managed(make(*values, **named))


def __getattr__(name):
    if name.startswith("__"):  # the import system's questions
        raise AttributeError(name)
    for module in ("typing", "contextlib", "dataclasses", "pathlib"):
        found = getattr(__import__(module), name, _MISSING)
        if found is not _MISSING:
            return found
    raise AttributeError(name)
