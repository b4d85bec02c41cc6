"""A workload in each peer's own words, written to a directory: the same effect, each at its best."""

import base64
import io
import json
import shlex
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from ansible_like.operations import (
    Absent,
    Command,
    Directory,
    File,
    Group,
    Link,
    Operation,
    Service,
    Sysctl,
    Upload,
    User,
)
from scripts.ssh_bench.workloads import Workload, blob

Task = dict[str, Any]


def write(work: Workload, folder: Path) -> None:
    """Everything that the peers read: play.json (engine, pyinfra), playbook.yml, script.sh, files, tree."""
    folder.mkdir(parents=True)
    (folder / "files").mkdir()
    sources: dict[str, str] = {}
    for number, each in enumerate(work.operations):
        if isinstance(each, (File, Upload)):
            source = folder / "files" / f"{number:03}"
            if work.is_tree:
                source = folder / "tree" / Path(each.path).relative_to(work.tree)
                source.parent.mkdir(parents=True, exist_ok=True)
            with source.open("wb") as file:
                file.writelines([each.data] if isinstance(each, File) else blob())
            source.chmod(0o644)
            sources[each.path] = str(source)
    play = {"tree": work.tree, "operations": [_wire(each, sources) for each in work.operations]}
    (folder / "play.json").write_text(json.dumps(play))
    (folder / "playbook.yml").write_text(playbook(work, sources, folder / "tree.tar.gz"))
    if work.is_tree:
        (folder / "tree.tar.gz").write_bytes(archive(work.operations))
    if work.id != "W5":  # scp takes its place there
        (folder / "script.sh").write_text(script(work.operations))


def _wire(operation: Operation, sources: dict[str, str]) -> dict[str, Any]:
    """The operation as JSON; a file's content as the path of its source."""
    if isinstance(operation, File):
        values = asdict(replace(operation, content="")) | {"source": sources[operation.path]}
        del values["content"]
        return {"kind": "File", **values}
    if isinstance(operation, Upload):
        operation = replace(operation, source=sources[operation.path])
    return {"kind": type(operation).__name__, **asdict(operation)}


def kernel_file(operation: Sysctl) -> str:
    """The settings as a file of sysctl.d."""
    return "".join(f"{key} = {value}\n" for key, value in sorted(operation.settings.items()))


# Ansible


def playbook(work: Workload, sources: dict[str, str], packed: Path) -> str:
    """An Ansible playbook, a task an operation; a tree goes as one archive.

    ``copy`` of a directory runs two modules a file: minutes for what ``unarchive`` does in seconds, and that
    also compares contents, modes and owners before it changes anything.
    """
    if work.is_tree:
        values = {"src": str(packed), "dest": "/"}
        tasks: list[Task] = [{"name": "tree", "ansible.builtin.unarchive": values}]
    else:
        groups = {each.name for each in work.operations if isinstance(each, Group)}
        restarting = {
            path
            for each in work.operations
            if isinstance(each, Service)
            for path in each.restart_when_changed
        }
        tasks = [task for each in work.operations for task in _tasks(each, sources, groups, restarting)]
    return yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": tasks}], sort_keys=False)


def _tasks(  # noqa: PLR0911 - one for each kind
    operation: Operation, sources: dict[str, str], groups: set[str], restarting: set[str]
) -> list[Task]:
    title = operation.title
    match operation:
        case Group(name):
            return [{"name": title, "ansible.builtin.group": {"name": name, "system": True}}]
        case User():
            values = {
                "name": operation.name, "home": operation.home, "shell": operation.shell,
                "system": operation.system, "create_home": not operation.system,
            }  # fmt: skip
            if operation.name in groups:
                values["group"] = operation.name
            return [{"name": title, "ansible.builtin.user": values}]
        case Directory(path, mode, owner, group):
            values = {"path": path, "state": "directory", **_attributes(mode, owner, group)}
            return [{"name": title, "ansible.builtin.file": values}]
        case File(path) | Upload(path):
            values = {
                "src": sources[path], "dest": path,
                **_attributes(operation.mode, operation.owner, operation.group),
            }  # fmt: skip
            task = {"name": title, "ansible.builtin.copy": values}
            return [task | ({"register": _register(path)} if path in restarting else {})]
        case Link(path, target):
            return [
                {"name": title, "ansible.builtin.file": {"path": path, "src": target, "state": "link"}},
            ]
        case Absent(path):
            return [{"name": title, "ansible.builtin.file": {"path": path, "state": "absent"}}]
        case Sysctl():
            register = _register(operation.path)
            values = {"content": kernel_file(operation), "dest": operation.path, "mode": "0644"}
            load = {"argv": ["sysctl", "--quiet", "--ignore", f"--load={operation.path}"]}
            return [
                {"name": title, "ansible.builtin.copy": values, "register": register},
                {
                    "name": f"{title}, now", "ansible.builtin.command": load,
                    "when": f"{register} is changed", "failed_when": False,
                },
            ]  # fmt: skip
        case Service():
            changed = [f"{_register(path)} is changed" for path in operation.restart_when_changed]
            values = {"name": operation.unit, "enabled": operation.enabled, "state": "started"}
            if changed:
                either = " or ".join(changed)
                values["daemon_reload"] = f"{{{{ {either} }}}}"
                values["state"] = f"{{{{ 'restarted' if {either} else 'started' }}}}"
            return [{"name": title, "ansible.builtin.systemd_service": values}]
        case Command(str(line)):
            return [{"name": title, "ansible.builtin.shell": line, "changed_when": False}]
    raise NotImplementedError(title)


def _attributes(mode: int, owner: str, group: str) -> dict[str, str]:
    return {"mode": f"{mode:04o}", "owner": owner, "group": group}


def _register(path: str) -> str:
    return "result_" + "".join(letter if letter.isalnum() else "_" for letter in path.lower())


# bare ssh and Fabric


def script(operations: Sequence[Operation]) -> str:
    """A sh script that looks at everything in a few processes, and acts only where something differs."""
    look, wanted = _look(operations)
    commands = [each.argv for each in operations if isinstance(each, Command)]
    lines = ["set -eu", "umask 022"]
    if look:
        lines += ["look() {", *look, "}", f"wanted={shlex.quote(wanted.rstrip(chr(10)))}"]
        lines += ['if [ "$(look 2>&1)" != "$wanted" ]; then', *_act(operations), "fi"]
    return "\n".join([*lines, *(str(line) for line in commands)]) + "\n"


def _look(operations: Sequence[Operation]) -> tuple[list[str], str]:
    """Commands that show the state, and what they print where it is as wanted."""
    import hashlib

    look: list[str] = []
    wanted = ""
    for each in operations:
        if isinstance(each, Group):
            look.append(f"getent group {each.name} | cut -d: -f1")
            wanted += f"{each.name}\n"
        elif isinstance(each, User):
            look.append(f"getent passwd {each.name} | cut -d: -f6,7")
            wanted += f"{each.home}:{each.shell}\n"
    files = [*(e for e in operations if isinstance(e, File)), *_kernel_files(operations)]
    folders = [each for each in operations if isinstance(each, Directory)]
    if files or folders:
        kinds: list[tuple[int, Directory | File]] = [(0o040000, each) for each in folders]
        kinds += [(0o100000, each) for each in files]
        names = " ".join(shlex.quote(place.path) for _, place in kinds)
        look.append(f"stat -c '%f %U:%G' {names}")
        wanted += "".join(f"{kind | e.mode:x} {e.owner}:{e.group}\n" for kind, e in kinds)
    if files:
        look.append("sha256sum " + " ".join(shlex.quote(each.path) for each in files))
        wanted += "".join(f"{hashlib.sha256(each.data).hexdigest()}  {each.path}\n" for each in files)
    for each in operations:
        if isinstance(each, Link):
            look.append(f"readlink {each.path}")
            wanted += f"{each.target}\n"
        elif isinstance(each, Absent):
            look.append(f"[ ! -e {each.path} ] || echo {each.path}")
        elif isinstance(each, Sysctl):
            for key, value in sorted(each.settings.items()):
                place = f"/proc/sys/{key.replace('.', '/')}"
                words = " ".join(value.split())
                look.append(
                    f"if [ -w {place} ]; then set -- $(cat {place}); [ \"$*\" = '{words}' ] || echo {key}; fi"
                )
        elif isinstance(each, Service):
            look.append(f"systemctl show --property=ActiveState,UnitFileState,NeedDaemonReload {each.unit}")
            wanted += "ActiveState=active\nUnitFileState=enabled\nNeedDaemonReload=no\n"
    return look, wanted


def _act(operations: Sequence[Operation]) -> list[str]:
    lines: list[str] = []
    groups = {each.name for each in operations if isinstance(each, Group)}
    for each in operations:
        if isinstance(each, Group):
            lines.append(f"getent group {each.name} >/dev/null || groupadd --system {each.name}")
        elif isinstance(each, User):
            kind = "--system --no-create-home" if each.system else "--create-home"
            own = f"--gid {each.name}" if each.name in groups else "--user-group"
            options = f"{kind} {own} --home-dir {each.home} --shell {each.shell}"
            lines.append(f"getent passwd {each.name} >/dev/null || useradd {options} {each.name}")
    if packed := archive(operations):
        text = base64.encodebytes(packed).decode().rstrip("\n")
        unpack = "tar --extract --gzip --preserve-permissions --directory=/"
        lines += [f"base64 -d <<'END' | {unpack}", text, "END"]
    for each in operations:
        if isinstance(each, Link):
            lines.append(f"ln -sfn {each.target} {each.path}")
        elif isinstance(each, Absent):
            lines.append(f"rm -rf {each.path}")
        elif isinstance(each, Sysctl):
            lines.append(f"sysctl --quiet --ignore --load={each.path} 2>/dev/null || true")
    services = [each for each in operations if isinstance(each, Service)]
    if services:
        lines.append("systemctl daemon-reload")
        lines += [f"systemctl enable --quiet {s.unit}; systemctl restart {s.unit}" for s in services]
    return lines


def archive(operations: Sequence[Operation]) -> bytes:
    """All files and directories with their modes and owners, compressed; empty if there are none."""
    members: list[tuple[Directory | File, bytes | None]] = []
    for each in (*operations, *_kernel_files(operations)):
        if isinstance(each, Directory):
            members.append((each, None))
        elif isinstance(each, File):
            members.append((each, each.data))
    if not members:
        return b""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for each, data in members:
            info = tarfile.TarInfo(each.path.lstrip("/"))
            info.mode, info.uname, info.gname = each.mode, each.owner, each.group
            if data is None:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(data)
            tar.addfile(info, None if data is None else io.BytesIO(data))
    return packed.getvalue()


def _kernel_files(operations: Sequence[Operation]) -> list[File]:
    return [File(each.path, kernel_file(each)) for each in operations if isinstance(each, Sysctl)]
