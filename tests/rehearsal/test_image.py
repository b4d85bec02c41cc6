"""The golden image: what its key depends on, how its commands look, and that damage shows."""

import json
import re
from pathlib import Path

import pytest
import yaml

from cluster.problems import Failure
from rehearsal import image


@pytest.fixture
def definition(tmp_path: Path) -> Path:
    directory = tmp_path / "definition"
    (directory / "files" / "etc").mkdir(parents=True)
    (directory / "packages.txt").write_text("# base\nsystemd\n\nsudo\n")
    (directory / "files" / "etc" / "motd").write_text("hello")
    return directory


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A finished image with a handful of files."""
    home = tmp_path / "image"
    for name in ("opt/vllm/bin/vllm", "etc/hosts", "var/log/boot"):
        (home / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "root" / name).write_text("content")
    (home / "image.json").write_text(json.dumps({"inventory": image.inventory(home / "root")}))
    return home


def test_the_key_follows_packages_files_and_the_hosts_own_authorities(
    definition: Path, tmp_path: Path
) -> None:
    authorities = tmp_path / "authorities"
    keys = [image.key(definition, authorities)]
    (definition / "packages.txt").write_text("systemd\nsudo\ncurl\n")
    keys.append(image.key(definition, authorities))
    (definition / "files" / "etc" / "motd").write_text("hullo")
    keys.append(image.key(definition, authorities))
    authorities.mkdir()
    (authorities / "company.crt").write_text("PEM")
    keys.append(image.key(definition, authorities))
    assert len(set(keys)) == len(keys)
    assert image.key(definition, authorities) == keys[-1]


def test_packages_are_the_lines_that_are_no_comments(definition: Path) -> None:
    assert image.packages(definition) == ["systemd", "sudo"]


def test_an_image_as_built_passes(home: Path) -> None:
    image.check(home)
    (home / "root" / "var/log/boot").write_text("grows by itself")
    image.check(home)


@pytest.mark.parametrize("name", ["opt/vllm/bin/vllm", "etc/hosts"])
def test_a_missing_a_changed_and_a_stray_file_are_damage(home: Path, name: str) -> None:
    file = home / "root" / name
    file.write_text("other content")
    with pytest.raises(Failure, match="damaged"):
        image.check(home)
    file.unlink()
    with pytest.raises(Failure, match="damaged"):
        image.check(home)
    file.write_text("content")
    image.check(home)
    file.with_name("stray").touch()
    with pytest.raises(Failure, match=re.escape(f"rm -rf {home}")):
        image.check(home)


def test_a_lost_executable_bit_is_damage(home: Path) -> None:
    program = home / "root" / "opt/vllm/bin/vllm"
    program.chmod(program.stat().st_mode ^ 0o111)
    with pytest.raises(Failure, match="damaged"):
        image.check(home)


@pytest.mark.parametrize("text", ["", "{}", "[]", "not JSON", '{"inventory": 1}'])
def test_a_torn_marker_is_damage(home: Path, text: str) -> None:
    (home / "image.json").write_text(text)
    with pytest.raises(Failure, match="damaged"):
        image.check(home)


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("", image.FALLBACK_MIRROR),
        ("http://archive.ubuntu.com/ubuntu/ Ubuntu Ubuntu", image.FALLBACK_MIRROR),
        ("http://mirror.example/debian-security/ Debian Debian-Security", image.FALLBACK_MIRROR),
        ("file:/media/cdrom/ Debian Debian", image.FALLBACK_MIRROR),
        (
            "https://packages.example/node . .\nhttps://mirror.example/debian/ Debian Debian",
            "https://mirror.example/debian",
        ),
    ],
)
def test_the_mirror_is_the_hosts_own_where_it_has_one(targets: str, expected: str) -> None:
    assert image.mirror(targets) == expected


def test_the_base_system_is_made_of_our_packages_from_that_mirror(tmp_path: Path) -> None:
    command = image.bootstrap_command(tmp_path, "http://mirror.example/debian", ['Acquire::x "y";'])
    assert command[:3] == ["unshare", "--mount", "mmdebstrap"]
    assert command[-3:] == ["bookworm", str(tmp_path), "http://mirror.example/debian"]
    assert f"--include={','.join(image.packages())}" in command
    assert '--aptopt=Acquire::x "y";' in command


def test_a_command_that_only_reads_gets_neither_the_tree_nor_the_network(tmp_path: Path) -> None:
    command = image.inside_command(
        tmp_path,
        ["python", "x.py"],
        read_only=True,
        network=False,
        mounts={Path("/in"): "/run/in", Path("/out"): "/run/out:rw"},
        environment={"HOME": "/tmp"},
    )
    assert {"--read-only", "--private-network", "--bind-ro=/in:/run/in", "--bind=/out:/run/out"} <= set(
        command
    )
    assert command[-2:] == ["python", "x.py"]


def test_the_lock_holds_what_was_asked_for_and_not_what_was_switched_off() -> None:
    locked = dict(
        re.findall(r"^([\w.-]+)==(\S+)", (image.DEFINITION / "requirements.txt").read_text(), re.MULTILINE)
    )
    asked = (image.DEFINITION / "requirements.in").read_text() + (
        image.DEFINITION / "overrides.txt"
    ).read_text()
    pins = re.findall(r"^([\w-]+)==(\S+)", asked, re.MULTILINE)
    assert pins
    assert {name: locked.get(name) for name, _ in pins} == dict(pins)
    switched_off = re.findall(r'^([\w-]+) ; python_version < "3"', asked, re.MULTILINE)
    assert switched_off
    assert not set(switched_off) & set(locked)


def test_host_keys_are_on_the_console_before_the_last_stage_of_the_boot() -> None:
    settings = yaml.safe_load((image.DEFINITION / "files/etc/cloud/cloud.cfg.d/90_drydock.cfg").read_text())
    first_stage = settings["cloud_init_modules"]
    assert first_stage.index("ssh") < first_stage.index("keys-to-console")
    assert "grub-dpkg" not in settings["cloud_config_modules"]
    assert settings["system_info"]["default_user"]["name"] == "ubuntu"
    assert settings["system_info"]["default_user"]["lock_passwd"] is True
