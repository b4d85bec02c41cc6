"""Plays compiled: order, batches, tags, handlers, and every fault at once; no host is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_like.connection import Target
from ansible_like.operations import Command, File, Operation, Service
from ansible_like.play import (
    Handler,
    Host,
    NoVariables,
    Percent,
    Play,
    PlayRefused,
    Role,
    Rollout,
    compile_play,
)


@dataclass(frozen=True)
class Web:
    port: int


def hosts(*names: str) -> list[Host[NoVariables]]:
    return [Host(Target(name, "192.0.2.1", "root", "", ()), NoVariables()) for name in names]


def command(name: str) -> Command:
    return Command("true", name=name)


def play(*roles: Role[NoVariables], **more: Any) -> Play[NoVariables]:
    return Play("site", NoVariables, roles or (Role("a", (command("a"),)),), **more)


def titles(rollout: Rollout) -> list[str]:
    """Of the first host."""
    (operations, *_) = rollout.batches[0].values()
    return [operation.title.removeprefix("command ") for operation in operations]


def refused(asked: Play[Any], at: Sequence[Host[Any]] = (), **options: Any) -> list[str]:
    with pytest.raises(PlayRefused) as refusal:
        compile_play(asked, at or hosts("h"), **options)
    return [f"{problem.where}: {problem.what}" for problem in refusal.value.problems]


def test_a_function_of_the_host_gives_each_its_own_operations() -> None:
    def page(host: Host[Web]) -> list[Operation]:
        return [File("/page", f"{host.name} {host.variables.port}")]

    at = [Host(replace(host.target), Web(port)) for host, port in zip(hosts("x", "y"), (1, 2), strict=True)]
    rollout = compile_play(Play("site", Web, (Role("page", page),)), at)
    assert [operation.content for (operation,) in rollout.batches[0].values()] == ["x 1", "y 2"]  # type: ignore[union-attr]


@st.composite
def acyclic_roles(draw: st.DrawFn) -> list[Role[NoVariables]]:
    names = [f"r{number}" for number in range(draw(st.integers(1, 8)))]
    roles = [
        Role[NoVariables](
            name,
            (command(name),),
            after=tuple(draw(st.sets(st.sampled_from(names[:at])))) if at else (),
        )
        for at, name in enumerate(names)
    ]
    return draw(st.permutations(roles))


@given(acyclic_roles())
def test_a_role_comes_after_those_it_names(roles: list[Role[NoVariables]]) -> None:
    order = titles(compile_play(play(*roles), hosts("h")))
    assert sorted(order) == sorted(role.name for role in roles)
    for role in roles:
        assert all(order.index(name) < order.index(role.name) for name in role.after)


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True))
def test_without_after_the_order_is_the_written_one(names: list[str]) -> None:
    roles = [Role[NoVariables](name, (command(name),)) for name in names]
    assert titles(compile_play(play(*roles), hosts("h"))) == names


SHARES = st.one_of(st.integers(1, 12), st.floats(0.1, 100).map(Percent))


@given(st.integers(1, 40), st.lists(SHARES, max_size=4).map(tuple), st.one_of(st.just(()), st.just(("n1*",))))
def test_batches_part_the_hosts_that_limit_leaves(
    count: int, serial: tuple[int | Percent, ...], limit: tuple[str, ...]
) -> None:
    at = hosts(*(f"n{number}" for number in range(1, count + 1)))
    batches = compile_play(play(serial=serial), at, limit=limit).batches
    names = [host.name for host in at if not limit or host.name.startswith("n1")]
    assert [target.name for batch in batches for target in batch] == names
    assert all(batches)
    for batch, size in zip(batches, serial, strict=False):
        most = size if isinstance(size, int) else max(1, len(names) * size.value / 100)
        assert len(batch) <= most


@pytest.mark.parametrize(
    ("serial", "sizes"),
    [
        ((), [8]),
        ((3,), [3, 3, 2]),
        ((Percent(25),), [2, 2, 2, 2]),
        ((1, Percent(25), Percent(100)), [1, 2, 5]),
        ((Percent(1),), [1] * 8),
    ],
)
def test_the_sizes_of_batches(serial: tuple[int | Percent, ...], sizes: list[int]) -> None:
    batches = compile_play(play(serial=serial), hosts(*"abcdefgh")).batches
    assert [len(batch) for batch in batches] == sizes


@pytest.mark.parametrize(("allowed", "count"), [(0, 0), (3, 3), (Percent(30), 2), (Percent(100), 8)])
def test_how_many_hosts_may_fail(allowed: int | Percent, count: int) -> None:
    assert compile_play(play(max_failures=allowed), hosts(*"abcdefgh")).max_failures == count


def test_tags_keep_what_the_chosen_roles_depend_on() -> None:
    asked = play(
        Role("base", (File("/base", ""),)),
        Role("other", (command("other"),)),
        Role("users", (command("users"),), after=("base",)),
        Role("config", (File("/config", ""),)),
        Role("app", (Service("app.service", restart_when_changed=("/config",)),), ("app",), ("users",)),
    )
    chosen = compile_play(asked, hosts("h"), tags=["app"])
    assert titles(chosen) == ["file /base", "users", "file /config", "service app.service"]
    assert len(titles(compile_play(asked, hosts("h")))) == 5


def test_handlers_come_last_and_act_on_what_notifies_them() -> None:
    asked = play(
        Role("one", (File("/one", ""), command("one")), tags=("one",), notify=("reload",)),
        Role("two", (File("/two", ""),), tags=("two",), notify=("reload", "restart")),
        handlers=(Handler("reload", command("reload")), Handler("restart", Service("app.service"))),
    )
    (operations,) = compile_play(asked, hosts("h")).batches[0].values()
    reload, restart = operations[-2:]
    assert isinstance(reload, Command)
    assert reload.when_changed == ("file /one", "command one", "file /two")
    assert isinstance(restart, Service)
    assert restart.restart_when_changed == ("file /two",)
    # one that nothing notifies in this run is left out: a Command without a condition would run always
    assert titles(compile_play(asked, hosts("h"), tags=["one"])) == ["file /one", "one", "reload"]


def test_everything_wrong_in_a_play_is_told_at_once() -> None:
    asked = play(
        Role("base", (), after=("bse",), notify=("reload",)),
        Role("web", (), tags="web"),  # type: ignore[arg-type]
        Role("x", (), after=("y",)),
        Role("y", (), after=("x",)),
        Role("y", ()),
        handlers=(Handler("restart", command("restart")),),
        serial=(0, Percent(0)),
        max_failures=-1,
    )
    assert refused(asked, limit=["g"]) == [
        "role y: stands there twice",
        "role base: after: there is no 'bse'",
        "role base: notify: there is no 'reload'",
        "role web: tags: is one text",
        "handler restart: no role notifies it",
        "serial: 0 is no size of a batch",
        "serial: Percent(value=0) is no size of a batch",
        "max_failures: -1 is no number of hosts",
        "--limit: there is no 'g'",
    ]


def test_a_play_without_roles_and_a_size_that_is_no_tuple() -> None:
    asked = Play("site", NoVariables, (), serial=2)  # type: ignore[arg-type]
    assert refused(asked) == ["roles: the play has none", "serial: 2 is no tuple"]


def test_a_cycle_is_named() -> None:
    roles = [Role[NoVariables](name, (), after=(after,)) for name, after in ("ab", "bc", "ca", "dd")]
    assert sorted(len(fault.split(" before ")) for fault in refused(play(*roles))) == [2, 4]


def test_what_a_role_gives_is_checked_on_every_host_and_told_once() -> None:
    def broken(host: Host[NoVariables]) -> list[Operation]:
        raise KeyError("port")

    strange: Any = ["ls"]
    asked = play(Role("a", broken), Role("b", strange))
    assert refused(asked, hosts("x", "y", "z")) == [
        f"role a: KeyError: 'port' ({__file__}:{broken.__code__.co_firstlineno + 1}) (on x and 2 more)",
        "role b: str is no operation (on x and 2 more)",
    ]
    assert refused(play(Role("a", (File("relative", ""),)))) == [
        "file relative: path 'relative' can't be used (on h)"
    ]
    assert refused(play(Role("a", (), tags=("web",))), tags=["wbe"]) == ["--tags: there is no 'wbe'"]
