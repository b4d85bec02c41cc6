"""`drydock cost` as it is called: options, answers, refusals, exit codes."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cluster.cost import Cost
from cluster.cost_report import CostReport, Question, report
from cluster.hosted import Mix, offers
from rehearsal import paths
from scripts import cost_table, drydock

V3 = ["--instance-type", "p5.48xlarge", "--nodes", "2"]
SMALL = ["--instance-type", "g6e.xlarge", "--tokens-per-s", "6000"]
SCHEMA = paths.REPO / "docs" / "cost.schema.json"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")


def run(*options: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["drydock", "cost", *options])
    with pytest.raises(SystemExit) as ended:
        drydock.main()
    return int(ended.value.code or 0)


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    def call(*options: str) -> tuple[int, str, str]:
        code = run(*options, monkeypatch=monkeypatch)
        return code, *capsys.readouterr()

    return call


def test_the_article_s_rows_for_the_cluster_that_its_model_needs(call: Any) -> None:
    code, out, _ = call(*V3, "--tokens-per-s", "8000", "--tokens-per-day", "500e6", "--json")
    assert code == 0
    answer = CostReport.model_validate_json(out)
    assert answer.cluster.usd_per_month == pytest.approx(80_358.4)
    assert answer.cluster.cny_per_month == pytest.approx(562_508.8)
    assert answer.needed_tokens_per_s == pytest.approx(11_574, abs=1)
    holysheep = next(each for each in answer.hosted if each.id == "article/holysheep")
    assert holysheep.break_even_tokens_per_day == pytest.approx(6.290e9, rel=1e-3)
    assert holysheep.pays is False
    assert holysheep.at_tokens_per_day is not None
    assert holysheep.at_tokens_per_day.own_clusters == 2
    assert holysheep.at_tokens_per_day.hosted_usd_per_month == pytest.approx(6_387.5)
    assert holysheep.at_tokens_per_day.hybrid_usd_per_month == pytest.approx(
        80_358.4 + (500e6 - 8000 * 0.5 * 86_400) / 1e6 * 0.42 * 730 / 24
    )
    assert holysheep.at_tokens_per_day.cheapest == "hosted"


def test_the_json_is_what_its_schema_says(call: Any) -> None:
    for options in ([*V3], [*SMALL], [*SMALL, "--tokens-per-day", "1e9"], ["--usd-per-hour", "3"]):
        code, out, _ = call(*options, "--json")
        assert code == 0
        CostReport.model_validate_json(out, strict=True)  # refuses unknown keys too


def test_the_schema_in_docs_is_today_s() -> None:
    assert json.loads(SCHEMA.read_text()) == CostReport.model_json_schema(mode="serialization"), (
        "write it again: python -m scripts.cost_schema"
    )


def test_the_plain_table(call: Any) -> None:
    code, out, _ = call(*SMALL, "--tokens-per-day", "1e9")
    assert code == 0
    assert "\x1b" not in out
    assert "1.86 USD an hour" in out
    row = next(line for line in out.splitlines() if line.split()[:1] == ["deepseek-chat"])
    assert row.split()[-1] == "yes"
    assert "Pays against every offer here, from 170 M tokens a day." in out
    assert "2026-10-27" in out


def test_a_narrow_terminal_cuts_nothing() -> None:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=80, color_system=None)
    cost = Cost(1.861, "a test", "2026-11-25")
    question = Question("a cluster", cost, Mix.of(3, 1, 0), 7.0, 0.5, 6000, 1e9)
    cost_table.show(report(question, list(offers().values())), console)
    assert "…" not in output.getvalue()
    assert "article/holysheep (DeepSeek-V3)" in output.getvalue()


def test_without_throughput_break_even_is_given_and_the_verdict_is_open(call: Any) -> None:
    code, out, _ = call(*V3, "--tokens-per-day", "500e6")
    assert code == 0
    assert "6,290 M" in out
    assert "500 M tokens a day need 11,574 tokens/s" in out


def test_measured_throughput_and_mix(call: Any, tmp_path: Path) -> None:
    bench = tmp_path / "bench.json"
    measured = {
        "total_token_throughput": 5000.0,
        "total_input_tokens": 9000,
        "total_output_tokens": 1000,
        "output_throughput": 500.0,
    }
    bench.write_text(json.dumps(measured))
    code, out, _ = call("--usd-per-hour", "2", "--bench", str(bench), "--cached-share", "0.5", "--json")
    assert code == 0
    answer = CostReport.model_validate_json(out)
    assert answer.serving is not None
    assert answer.serving.tokens_per_s == 5000
    assert (answer.mix.input, answer.mix.cached_input, answer.mix.output) == (0.45, 0.45, 0.1)


def test_every_problem_at_once(call: Any) -> None:
    code, _, err = call(
        *("--instance-type", "p5.48xlarg", "--nodes", "0", "--tokens-per-s", "nan", "--utilization", "1.5"),
        *("--mix", "3to1", "--hosted", "deepseek-chatt", "--plot", "no/where.gif", "--cny-per-usd", "0"),
    )
    assert code == 2
    assert "9 problems, nothing was changed" in err
    for words in (
        "Did you mean p5.48xlarge?",
        "--nodes: is 0",
        "--tokens-per-s: is nan",
        "--utilization: is 1.5",
        "--mix: is '3to1'",
        "Did you mean deepseek-chat?",
        "ends in .png or .svg",
        "mkdir -p no",
        "--cny-per-usd: is 0",
    ):
        assert words in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "Give e.g. --instance-type p5.48xlarge, or --usd-per-hour"),
        (["--usd-per-hour", "-1"], "--usd-per-hour: is -1"),
        (["--usd-per-hour", "1", "--instance-type", "g5.xlarge"], "is given beside --instance-type"),
        (["--instance-type", "g5.xlarge", "--market", "free"], "on-demand, spot, capacity-block"),
        (["--instance-type", "g5.xlarge", "--market", "spot"], "--refresh --region us-east-1"),
        (["--instance-type", "p5e.48xlarge"], "capacity-block 39.8 in most regions"),
        (["--instance-type", "g5.xlarge", "--market", "capacity-block"], "priced when they are bought"),
        (["--usd-per-hour", "1", "--cached-share", "2"], "--cached-share: is 2"),
        (["--usd-per-hour", "1", "--mix", "0:0"], "--mix: is '0:0'"),
        (["--usd-per-hour", "1", "--mix", "1:-1"], "--mix: is '1:-1'"),
        (["--usd-per-hour", "1", "--tokens-per-day", "inf"], "--tokens-per-day: is inf"),
    ],
)
def test_a_refusal_has_a_way_out(call: Any, options: list[str], words: str) -> None:
    code, out, err = call(*options)
    assert code == 2
    assert not out
    assert words in err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html>", "is no JSON (line 1"),
        (b"\xff\xfe", "is no text"),
        (b"[]", "has not the numbers"),
        (b'{"total_token_throughput": "fast"}', "has not the numbers"),
        (
            b'{"total_token_throughput": 0, "total_input_tokens": 1, "total_output_tokens": 1}',
            "measured 0 tokens/s",
        ),
    ],
)
def test_a_broken_measurement(call: Any, tmp_path: Path, content: bytes, words: str) -> None:
    bench = tmp_path / "bench.json"
    bench.write_bytes(content)
    code, _, err = call("--usd-per-hour", "1", "--bench", str(bench))
    assert code == 2
    assert words in err
    assert "vllm bench serve --save-result" in err


def test_a_measurement_that_is_not_there(call: Any) -> None:
    code, _, err = call("--usd-per-hour", "1", "--bench", "no.json", "--tokens-per-s", "5")
    assert code == 2
    assert "No such file" in err
    assert "is given beside --bench" in err


def test_a_plan_gives_type_and_nodes(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps({"fits": True, "reason": "", "instance_type": "p5.48xlarge", "nodes": 2, "more": 1})
    file = tmp_path / "plan.json"
    file.write_text(text)
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    for plan in (str(file), "-"):
        code, out, _ = call("--plan", plan, "--json")
        assert code == 0
        assert CostReport.model_validate_json(out).cluster.usd_per_hour == pytest.approx(110.08)


def test_a_plan_is_priced_where_it_was_made_unless_told_otherwise(call: Any, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    machines = {"fits": True, "reason": "", "instance_type": "p5en.48xlarge", "nodes": 1}
    file.write_text(json.dumps(machines | {"region": "us-east-1", "market": "capacity-block"}))
    code, out, _ = call("--plan", str(file), "--json")
    assert (code, CostReport.model_validate_json(out).cluster.usd_per_hour) == (0, 41.61)
    code, out, _ = call("--plan", str(file), "--market", "on-demand", "--json")
    assert (code, CostReport.model_validate_json(out).cluster.usd_per_hour) == (0, 63.296)


def test_a_plan_that_does_not_fit_has_no_price(call: Any, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    plan = {"fits": False, "reason": "12.3 GiB are missing", "instance_type": "p4de.24xlarge", "nodes": 1}
    file.write_text(json.dumps(plan))
    code, _, err = call("--plan", str(file))
    assert code == 1
    assert "12.3 GiB are missing" in err
    assert "alternatives" in err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("<html>", "is no JSON (line 1"),
        ("[]", "has not fits"),
        ('{"fits": true}', "has not fits"),
        ('{"fits": true, "reason": "", "instance_type": null, "nodes": 1}', "has the type None"),
        (None, "cannot be read"),
    ],
)
def test_a_broken_plan(call: Any, tmp_path: Path, content: str | None, words: str) -> None:
    file = tmp_path / "plan.json"
    if content is not None:
        file.write_text(content)
    code, _, err = call("--plan", str(file))
    assert code == 2
    assert words in err
    assert "drydock plan --json" in err


def test_a_folder_as_plot_is_failed_work(call: Any, tmp_path: Path) -> None:
    folder = tmp_path / "a.png"
    folder.mkdir()
    code, _, err = call("--usd-per-hour", "1", "--plot", str(folder))
    assert code == 1
    assert "cannot be written: Is a directory" in err


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; from scripts import drydock; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=paths.REPO
    ).stdout.split()
    assert "scripts.cost" in modules
    assert not {"boto3", "pydantic", "vl_convert", "httpx", "pulumi", "moto"} & set(modules)
