"""What the engine loads at its start, and leaves as it was."""

import subprocess
import sys

SCRIPT = """
import sys
{before}
import ansible_like.runner
assert "asyncio" not in sys.modules or {early}
import invoke
assert invoke is sys.modules["invoke"] and invoke.run
"""


def test_invoke_is_not_loaded_and_can_be_later() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT.format(before="", early=False)], check=True)


def test_one_that_was_loaded_stays() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT.format(before="import invoke", early=True)], check=True)
