"""A workload as a pyinfra deploy; runs in pyinfra's own environment, with BENCH_PLAY naming play.json."""

import json
import os
from pathlib import Path
from typing import Any

from pyinfra.operations import files, server, systemd  # type: ignore[import-not-found]

PLAY = Path(os.environ["BENCH_PLAY"])
play = json.loads(PLAY.read_text())
operations = play["operations"]
groups = {each["name"] for each in operations if each["kind"] == "Group"}
done = {}


def lead(each: dict[str, Any]) -> Any:  # noqa: PLR0911 - one for each kind
    """Call the pyinfra operation of equal effect."""
    match each["kind"]:
        case "Group":
            return server.group(group=each["name"], system=True)
        case "User":
            own = {"group": each["name"]} if each["name"] in groups else {}
            home = {"ensure_home": False} if each["system"] else {"create_home": True}
            name, shell = each["name"], each["shell"]
            return server.user(
                user=name, home=each["home"], shell=shell, system=each["system"], **own, **home
            )
        case "Directory":
            mode, owner = f"{each['mode']:o}", each["owner"]
            return files.directory(path=each["path"], mode=mode, user=owner, group=each["group"])
        case "File" | "Upload":
            mode, owner = f"{each['mode']:o}", each["owner"]
            return files.put(
                src=each["source"], dest=each["path"], mode=mode, user=owner, group=each["group"]
            )
        case "Link":
            return files.link(path=each["path"], target=each["target"])
        case "Absent":
            return files.file(path=each["path"], present=False)
        case "Sysctl":
            settings = sorted(each["settings"].items())
            text = PLAY.parent / "files" / "sysctl"
            text.write_text("".join(f"{key} = {value}\n" for key, value in settings))
            written = files.put(src=str(text), dest=each["path"], mode="644", user="root", group="root")
            load = f"sysctl --quiet --ignore --load={each['path']} 2>/dev/null || true"
            return server.shell(commands=[load], _if=written.did_change)
        case "Service":
            used = [done[path] for path in each["restart_when_changed"]]
            if used:

                def changed() -> bool:
                    return any(one.did_change() for one in used)

                systemd.daemon_reload(_if=changed)
            return systemd.service(service=each["unit"], running=True, enabled=each["enabled"])
        case "Command":
            return server.shell(commands=[each["argv"]])
    raise NotImplementedError(each["kind"])


if play["tree"]:
    files.sync(
        src=str(PLAY.parent / "tree"),
        dest=play["tree"],
        user="root",
        group="root",
        mode="644",
        dir_mode="755",
    )
else:
    for each in operations:
        result = lead(each)
        if "path" in each:
            done[each["path"]] = result
