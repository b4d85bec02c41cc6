"""What a refused voyage leaves alone."""

import pytest

from cluster.problems import BadInput, Problem
from rehearsal import voyage
from rehearsal.timeline import Timeline


def test_a_voyage_that_is_refused_clears_nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped: list[str] = []

    def refuse(*, boot: bool = True) -> None:
        raise BadInput([Problem("cloud", "one runs already", "use it")])

    monkeypatch.setattr(voyage, "start_cloud", refuse)
    monkeypatch.setattr(voyage, "stop_cloud", lambda: stopped.append("the other's cloud"))
    with pytest.raises(BadInput):
        voyage.Voyage(Timeline(), lambda _: None).sail(keep=False)
    assert stopped == []
