"""Packages, users, kernel settings, units and commands as data: facts and arguments → exact actions."""

from __future__ import annotations

from typing import ClassVar

import pytest

from ansible_like.agent import commands, kernel, packages, services, users
from ansible_like.agent.files import PathFacts
from ansible_like.agent.values import (
    AwaitPath,
    AwaitPort,
    AwaitUnit,
    Plan,
    Refused,
    Run,
    SetKernel,
    WriteFile,
)
from ansible_like.operations import Command, Group, Package, Service, Sysctl, User, WaitFor


def commands_of(plan: Plan) -> list[str]:
    return [" ".join(action.argv) for action in plan.actions if isinstance(action, Run)]


class TestPackage:
    FACTS = packages.PackageFacts(True, {"curl": "7.88"}, interrupted=False, lists_age_s=60)
    INSTALL = (
        "apt-get -o DPkg::Lock::Timeout=600 -o Dpkg::Options::=--force-confdef"
        " -o Dpkg::Options::=--force-confold install --yes --quiet --no-install-recommends "
    )

    def test_installed_is_a_no_op_that_says_so(self) -> None:
        plan = packages.plan(Package(("curl",)), self.FACTS)
        assert plan.actions == ()
        assert plan.why == "installed: curl 7.88"

    def test_only_what_is_missing_is_installed(self) -> None:
        plan = packages.plan(Package(("curl", "jq", "xfsprogs")), self.FACTS)
        assert commands_of(plan) == [self.INSTALL + "jq xfsprogs"]
        assert plan.diff == "+ jq\n+ xfsprogs"

    def test_it_waits_for_the_lock_as_long_as_it_is_told_and_asks_nothing(self) -> None:
        (run,) = packages.plan(Package(("jq",), lock_timeout_s=30), self.FACTS).actions
        assert isinstance(run, Run)
        assert "DPkg::Lock::Timeout=30" in run.argv
        assert run.lock_timeout_s == 30
        assert run.deadline_s == 1830
        assert run.environment["DEBIAN_FRONTEND"] == "noninteractive"

    @pytest.mark.parametrize("age", [None, 100_000.0])
    def test_lists_that_are_missing_or_old_are_fetched_first(self, age: float | None) -> None:
        plan = packages.plan(Package(("jq",)), self.FACTS._replace(lists_age_s=age))
        assert commands_of(plan) == [
            "apt-get -o DPkg::Lock::Timeout=600 update --quiet",
            self.INSTALL + "jq",
        ]

    def test_what_a_killed_dpkg_left_is_finished_first(self) -> None:
        plan = packages.plan(Package(("jq",)), self.FACTS._replace(interrupted=True))
        assert commands_of(plan)[0] == "dpkg --force-confdef --force-confold --configure --pending"

    def test_a_version_that_is_not_the_installed_one_is_missing(self) -> None:
        assert packages.plan(Package(("curl=7.88",)), self.FACTS).actions == ()
        assert commands_of(packages.plan(Package(("curl=8.0",)), self.FACTS)) == [self.INSTALL + "curl=8.0"]
        assert packages.plan(Package(("curl:amd64",)), self.FACTS).actions == ()

    def test_a_host_without_dpkg_is_refused(self) -> None:
        with pytest.raises(Refused, match="Debian and Ubuntu only"):
            packages.plan(Package(("jq",)), self.FACTS._replace(has_apt=False))


class TestUser:
    OP = User("vllm", "/var/lib/vllm", "/usr/sbin/nologin", groups=("video", "render"))
    NOBODY = users.UserFacts(None, "", frozenset(), has_own_group=False)
    THERE = users.UserFacts("/var/lib/vllm", "/usr/sbin/nologin", frozenset({"video", "render"}), True)

    def test_a_new_system_user(self) -> None:
        assert commands_of(users.plan_user(self.OP, self.NOBODY)) == [
            "useradd --system --no-create-home --home-dir /var/lib/vllm --shell /usr/sbin/nologin"
            " --user-group --groups video,render vllm"
        ]

    def test_a_new_user_whose_group_is_there_and_who_is_no_system_user(self) -> None:
        op = User("ada", "/home/ada", "/bin/bash", system=False)
        assert commands_of(users.plan_user(op, self.NOBODY._replace(has_own_group=True))) == [
            "useradd --create-home --home-dir /home/ada --shell /bin/bash --gid ada ada"
        ]

    def test_as_wanted(self) -> None:
        assert users.plan_user(self.OP, self.THERE).actions == ()

    def test_only_what_differs_is_changed(self) -> None:
        facts = self.THERE._replace(home="/", groups=frozenset({"video"}))
        assert commands_of(users.plan_user(self.OP, facts)) == [
            "usermod --home /var/lib/vllm --append --groups render vllm"
        ]

    def test_groups(self) -> None:
        assert users.plan_group(Group("vllm"), True).actions == ()
        assert commands_of(users.plan_group(Group("vllm"), False)) == ["groupadd --system vllm"]


class TestSysctl:
    OP = Sysctl({"net.core.somaxconn": "4096", "vm.swappiness": "1"}, path="/etc/sysctl.d/60-x.conf")
    CONTENT = b"net.core.somaxconn = 4096\nvm.swappiness = 1\n"
    FILE = PathFacts("file", 0o644, "root", "root", CONTENT)
    LIVE: ClassVar = {
        "net.core.somaxconn": kernel.KeyFacts("4096", True),
        "vm.swappiness": kernel.KeyFacts("1", True),
    }

    def test_as_wanted(self) -> None:
        plan = kernel.plan(self.OP, kernel.SysctlFacts(self.FILE, self.LIVE))
        assert plan.actions == ()
        assert not plan.skipped

    def test_the_file_is_written_and_only_other_values_are_set(self) -> None:
        live = {**self.LIVE, "vm.swappiness": kernel.KeyFacts("60", True)}
        plan = kernel.plan(self.OP, kernel.SysctlFacts(PathFacts(), live))
        assert plan.actions == (
            WriteFile("/etc/sysctl.d/60-x.conf", self.CONTENT, 0o644, "root", "root"),
            SetKernel("vm.swappiness", "1", tolerated=False),
        )
        assert "- vm.swappiness = 60\n+ vm.swappiness = 1" in plan.diff

    def test_tabs_of_the_kernel_are_no_difference(self) -> None:
        op = Sysctl({"net.ipv4.tcp_rmem": "4096 131072 6291456"}, path="/x")
        live = {"net.ipv4.tcp_rmem": kernel.KeyFacts("4096\t131072\t6291456", True)}
        written = PathFacts("file", 0o644, "root", "root", b"net.ipv4.tcp_rmem = 4096 131072 6291456\n")
        assert kernel.plan(op, kernel.SysctlFacts(written, live)).actions == ()

    @pytest.mark.parametrize(
        ("facts", "why"),
        [
            (kernel.KeyFacts(None, False), "the kernel has no such key"),
            (kernel.KeyFacts("60", False), "it can't be written here"),
        ],
    )
    def test_a_key_that_is_not_ours_to_set(self, facts: kernel.KeyFacts, why: str) -> None:
        all_facts = kernel.SysctlFacts(self.FILE, {**self.LIVE, "vm.swappiness": facts})
        with pytest.raises(Refused, match=why):
            kernel.plan(self.OP, all_facts)
        tolerant = Sysctl(self.OP.settings, self.OP.path, tolerate_missing=True)
        plan = kernel.plan(tolerant, all_facts)
        assert plan == Plan(why=f"vm.swappiness: {why}", skipped=True)


class TestService:
    OP = Service("vllm.service", running=True, enabled=True, deadline_s=90)
    UP = services.UnitFacts("loaded", "active", "enabled", needs_reload=False)

    def test_as_wanted(self) -> None:
        plan = services.plan(self.OP, self.UP, changed=False)
        assert plan.actions == ()
        assert plan.why == "active, enabled"

    def test_a_new_unit_is_enabled_and_started_and_waited_for(self) -> None:
        plan = services.plan(
            self.OP, services.UnitFacts("loaded", "inactive", "disabled", False), changed=False
        )
        assert plan.actions == (
            Run(("systemctl", "enable", "vllm.service")),
            Run(("systemctl", "start", "vllm.service"), deadline_s=90, unit="vllm.service"),
            AwaitUnit("vllm.service", 90),
        )
        assert plan.diff == "- disabled\n+ enabled\n- inactive\n+ active"

    def test_a_changed_file_restarts_it_after_one_reload(self) -> None:
        plan = services.plan(self.OP, self.UP._replace(needs_reload=True), changed=True)
        assert commands_of(plan) == ["systemctl daemon-reload", "systemctl restart vllm.service"]
        assert plan.why == "restart: what it uses changed"

    def test_a_unit_whose_state_is_not_asked_for_is_restarted_only_if_it_runs(self) -> None:
        op = Service("vllm.service", restart_when_changed=("/etc/x",))
        assert commands_of(services.plan(op, self.UP, changed=True)) == ["systemctl restart vllm.service"]
        assert services.plan(op, self.UP._replace(active="inactive"), changed=True).actions == ()

    def test_a_failed_unit_may_start_again(self) -> None:
        plan = services.plan(self.OP, self.UP._replace(active="failed"), changed=False)
        assert commands_of(plan) == ["systemctl reset-failed vllm.service", "systemctl start vllm.service"]

    def test_a_oneshot_is_not_waited_for(self) -> None:
        plan = services.plan(self.OP, self.UP._replace(active="inactive", ends=True), changed=False)
        assert [type(action) for action in plan.actions] == [Run]

    def test_stop_and_disable(self) -> None:
        op = Service("vllm.service", running=False, enabled=False)
        plan = services.plan(op, self.UP, changed=False)
        assert commands_of(plan) == ["systemctl disable vllm.service", "systemctl stop vllm.service"]
        gone = services.UnitFacts("not-found", "inactive", "", needs_reload=False)
        assert services.plan(op, gone, changed=False).actions == ()

    def test_a_static_unit_needs_no_enabling(self) -> None:
        assert services.plan(self.OP, self.UP._replace(enabled="static"), changed=False).actions == ()

    @pytest.mark.parametrize(
        ("load", "says"),
        [("", "systemd does not answer"), ("not-found", "no unit vllm.service"), ("masked", "is masked")],
    )
    def test_what_cannot_start_is_refused_with_the_way_out(self, load: str, says: str) -> None:
        with pytest.raises(Refused, match=says):
            services.plan(self.OP, self.UP._replace(load=load, active="inactive"), changed=False)


class TestCommand:
    NOT_DONE = commands.CommandFacts(created=False, satisfied=False)

    def test_a_tuple_is_run_as_it_is_and_a_str_by_the_shell(self) -> None:
        plan = commands.plan_command(
            Command(("make", "a b"), deadline_s=5, ok_codes=(0, 2), environment={"A": "1"}),
            self.NOT_DONE,
            False,
        )
        assert plan.actions == (Run(("make", "a b"), ok_codes=(0, 2), deadline_s=5, environment={"A": "1"}),)
        plan = commands.plan_command(Command("a && b", secret_stdin="s", progress=True), self.NOT_DONE, False)
        assert plan.actions == (Run(("/bin/sh", "-c", "a && b"), deadline_s=600, stdin="s", progress=True),)

    def test_guards_say_why_nothing_is_done(self) -> None:
        made = commands.plan_command(Command("x", creates="/a"), self.NOT_DONE._replace(created=True), False)
        assert (made.actions, made.why) == ((), "/a exists")
        done = commands.plan_command(Command("x", unless="y"), self.NOT_DONE._replace(satisfied=True), False)
        assert (done.actions, done.why) == ((), "its guard says that it is done")
        same = commands.plan_command(Command("x", when_changed=("/a",)), self.NOT_DONE, changed=False)
        assert (same.actions, same.why) == ((), "unchanged: /a")
        assert commands.plan_command(Command("x", when_changed=("/a",)), self.NOT_DONE, changed=True).actions

    def test_waiting_waits_only_for_what_is_not_there_and_changes_nothing(self) -> None:
        op = WaitFor(port=80, path="/a", unit="b.service", deadline_s=9)
        none = commands.plan_wait(op, commands.WaitFacts(False, False, "activating"))
        assert none.actions == (AwaitPort("127.0.0.1", 80, 9), AwaitPath("/a", 9), AwaitUnit("b.service", 9))
        assert not none.changes
        some = commands.plan_wait(op, commands.WaitFacts(True, False, "active"))
        assert some.actions == (AwaitPath("/a", 9),)
        assert commands.plan_wait(op, commands.WaitFacts(True, True, "active")).actions == ()
