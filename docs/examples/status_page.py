"""A page on every node that says its name: a kernel setting, files, and a unit that follows them."""

from dataclasses import dataclass, field

from ansible_like.operations import Directory, File, Operation, Service, Sysctl
from ansible_like.play import Handler, Host, Percent, Play, Role


@dataclass(frozen=True)
class Variables:
    """What differs between nodes; each has a place in the inventory."""

    text: str
    port: int = 8080
    sysctl: dict[str, str] = field(default_factory=lambda: {"net.core.somaxconn": "4096"})
    root: str = ""
    """Put before every path, to try the play where only a folder is yours."""
    owner: str = "root"


def kernel(host: Host[Variables]) -> list[Operation]:
    settings = host.variables.sysctl
    path = f"{host.variables.root}/etc/sysctl.d/60-status-page.conf"
    return [Sysctl(settings, path)] if settings else []


def page(host: Host[Variables]) -> list[Operation]:
    folder, owner = f"{host.variables.root}/srv/status-page", host.variables.owner
    return [
        Directory(folder, owner=owner, group=owner),
        File(f"{folder}/index.html", f"{host.name}: {host.variables.text}\n", owner=owner, group=owner),
    ]


def unit(host: Host[Variables]) -> list[Operation]:
    root, owner = host.variables.root, host.variables.owner
    text = f"""\
[Unit]
Description=A page that says this node's name

[Service]
ExecStart=/usr/bin/python3 -m http.server {host.variables.port} --directory {root}/srv/status-page
DynamicUser=yes
Restart=always

[Install]
WantedBy=multi-user.target
"""
    return [File(f"{root}/etc/systemd/system/status-page.service", text, owner=owner, group=owner)]


play = Play(
    name="status page",
    variables=Variables,
    roles=[
        Role("kernel", kernel, tags=("kernel",)),
        Role("page", page, tags=("page",)),
        Role("unit", unit, after=("page",), notify=("restart",)),
    ],
    handlers=[Handler("restart", Service("status-page.service", running=True, enabled=True))],
    serial=(1, Percent(50)),  # one node first, then half of them at a time
    max_failures=0,
)
