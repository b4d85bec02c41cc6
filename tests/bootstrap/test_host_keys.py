"""Host keys out of console outputs as they really look."""

import pytest

from bootstrap.host_keys import await_host_keys, parse_host_keys
from bootstrap.work import Work
from cluster.problems import Failure

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBkF6Zw2mFSPQdzxCjkQXGXkS2zKQnT0dH2g0zqJYQyW"
ECDSA = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBDNn+/x="
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOtherOtherOtherOtherOtherOtherOtherOtherOthe"


def block(*keys: str, prefix: str = "", end: str = "\r\n") -> str:
    lines = ["-----BEGIN SSH HOST KEY KEYS-----", *(f"{key} root@ip-10-77-1-4" for key in keys)]
    return "".join(f"{prefix}{line}{end}" for line in [*lines, "-----END SSH HOST KEY KEYS-----"])


FINGERPRINTS = (
    "-----BEGIN SSH HOST KEY FINGERPRINTS-----\n256 SHA256:abc root@ip (ED25519)\n"
    "-----END SSH HOST KEY FINGERPRINTS-----\n"
)


@pytest.mark.parametrize(
    ("console", "keys"),
    [
        ("", ()),
        (FINGERPRINTS, ()),
        ("[    1.2] boot\n" + FINGERPRINTS + block(ECDSA, ED25519), (ECDSA, ED25519)),
        (block(ED25519, prefix="<14>Nov 24 12:00:01 cloud-init: "), (ED25519,)),
        (block(ED25519, prefix="[   14.03] cloud-init[812]: "), (ED25519,)),
        (block(ED25519, prefix="\x1b[0;32m  OK  \x1b[0m "), (ED25519,)),
        (block(OTHER) + "rebooted\n" + block(ED25519), (ED25519,)),
        (block(OTHER).partition("-----END")[0], ()),
    ],
    ids=["empty", "fingerprints", "plain", "syslog", "kernel", "colours", "rebooted", "cut"],
)
def test_keys_are_those_of_the_last_whole_block(console: str, keys: tuple[str, ...]) -> None:
    assert parse_host_keys(console) == keys


class Ec2:
    """Just the two calls, with answers one after the other."""

    def __init__(self, *consoles: str, state: str = "running") -> None:
        self.consoles, self.state = list(consoles), state

    def get_console_output(self, InstanceId: str, Latest: bool) -> dict[str, str]:  # noqa: N803
        return {"Output": self.consoles.pop(0)} if self.consoles else {}

    def describe_instances(self, InstanceIds: list[str]) -> object:  # noqa: N803
        reason = {"Message": "Server.SpotInstanceTermination"}
        return {"Reservations": [{"Instances": [{"State": {"Name": self.state}, "StateReason": reason}]}]}


def work(deadline_s: float) -> Work:
    return Work(lambda _: None, deadline_s)


def test_waits_until_the_block_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bootstrap.host_keys.POLL_S", 0.0)
    ec2 = Ec2("", FINGERPRINTS, block(ED25519))
    assert await_host_keys(ec2, "i-1", work(60)) == (ED25519,)  # type: ignore[arg-type]


def test_the_deadline_tells_what_was_seen() -> None:
    with pytest.raises(
        Failure, match=r"i-1 shows no SSH host keys after 0 s; it has 18 characters and ends:\n +a\n"
    ):
        await_host_keys(Ec2("a\nKernel panic: no"), "i-1", work(0))  # type: ignore[arg-type]
    with pytest.raises(Failure, match="it is empty"):
        await_host_keys(Ec2(), "i-1", work(0))  # type: ignore[arg-type]


def test_an_instance_that_is_gone_ends_the_wait_at_once() -> None:
    with pytest.raises(Failure, match=r"i-1 is terminated \(Server\.SpotInstanceTermination\)"):
        await_host_keys(Ec2(state="terminated"), "i-1", work(600))  # type: ignore[arg-type]
