"""A workload by Fabric, on all hosts at once; runs in Fabric's own environment: HOSTS.json PLAY-FOLDER."""

import json
import sys
from pathlib import Path

from fabric import Config, ThreadingGroup  # type: ignore[import-not-found]
from fabric import Connection as FabricConnection

LONGEST_ARGUMENT = 100_000
hosts, play = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
keys = {"key_filename": hosts["private_key"], "look_for_keys": False, "allow_agent": False}
config = Config(overrides={"load_ssh_configs": False})
group = ThreadingGroup.from_connections(
    [
        FabricConnection(each["address"], user="root", port=each["port"], connect_kwargs=keys, config=config)
        for each in hosts["hosts"]
    ]
)
if (play / "script.sh").exists():
    script = (play / "script.sh").read_text()
    if len(script) < LONGEST_ARGUMENT:
        group.run(script, hide=True, in_stream=False)
    else:
        # by its path: its threads would read one open file between them
        group.put(str(play / "script.sh"), "/root/bench.sh")
        group.run("sh /root/bench.sh; code=$?; rm /root/bench.sh; exit $code", hide=True, in_stream=False)
else:
    (each,) = json.loads((play / "play.json").read_text())["operations"]
    group.put(each["source"], each["path"])
    group.run(f"chmod {each['mode']:o} {each['path']}", hide=True, in_stream=False)
