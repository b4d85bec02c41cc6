"""The end-to-end tests share one machine and one cloud at a time; each starts from nothing and proves it."""

from collections.abc import Iterator

import pytest

from rehearsal import audit, cloud, voyage


@pytest.fixture(scope="session", autouse=True)
def no_cloud_of_another() -> None:
    """A cloud that ran before is not ours to stop."""
    if (running := cloud.status().pid) is not None:
        pytest.exit(f"a cloud runs already (pid {running}): `drydock rehearsal stop` ends it", returncode=2)


@pytest.fixture
def untouched_machine() -> Iterator[None]:
    """Whatever the test did, the machine ends as it began."""
    before = audit.machine()
    yield
    voyage.stop_cloud()
    assert audit.left_over(before, audit.machine()) == {}


@pytest.fixture
def booting_cloud(untouched_machine: None) -> str:
    """A cloud whose instances boot; its endpoint."""
    return voyage.start_cloud().endpoint


@pytest.fixture
def listing_cloud(untouched_machine: None) -> str:
    """A cloud whose instances are only listed; its endpoint."""
    return voyage.start_cloud(boot=False).endpoint
