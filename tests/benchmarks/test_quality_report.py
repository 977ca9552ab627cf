import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import quality_report
from benchmarks.quality_report import Results, mean_relative, page, select

MACHINE = {"processor": "a processor", "versions": {"python": "3.11"}}


def row(table: str, contestant: str, score: float | None, seed: int = 0, **more: Any) -> dict[str, Any]:
    line = {
        "table": table,
        "contestant": contestant,
        "seed": seed,
        "threads": 2,
        "commit": "new" if contestant.startswith("ours") else None,
        "date": "2026-11-24",
        "machine": MACHINE,
    }
    if score is None:
        return line | {"error": "not done after 9 s"}
    figures = {"fit_s": 2.0 if contestant == "ours" else 4.0, "predict_s": 0.5, "peak_mb": 300.0}
    return line | figures | {"metric": "roc_auc" if table == "a" else "rmse", "score": score} | more


ROWS = [
    row("a", "ours", 0.96, 0),
    row("a", "ours", 0.98, 1),
    row("a", "catboost", 0.94),
    row("a", "hgb", 0.94),
    row("b", "ours", 3.0),
    row("b", "catboost", 2.0),
    row("b", "hgb", None),
]
APART = ROWS[3:5]  # two contestants without a set in common


def test_errors_are_means_over_the_seeds_relative_to_the_best():
    results = Results(ROWS)

    assert results.relative("ours") == pytest.approx({"a": 0.0, "b": 0.5})
    assert results.relative("catboost") == pytest.approx({"a": 1.0, "b": 0.0})


def test_the_mean_over_sets_is_geometric():
    assert mean_relative([3.0, 0.0]) == pytest.approx(1.0)


def test_times_are_of_the_last_processor_and_ratios_of_one() -> None:
    other = {"machine": MACHINE | {"processor": "another"}}
    rows = [row("a", "ours", 0.9, 0, fit_s=1.0), row("a", "hgb", 0.9), row("a", "ours", 0.9, 1, **other)]
    results = Results(select(rows))

    assert results.cells["a"]["ours"].least("fit_s") == 2.0
    assert "Times of hgb are of another processor" in page(results)
    assert "| hgb | 0 of 1 | +0.0% | +0.0% |  |  |" in page(results)


def test_ranks_are_among_those_who_ran_on_all_sets():
    assert Results(ROWS).ranks() == {"ours": 1.5, "catboost": 1.5}
    assert Results(ROWS).comparable() == (["ours", "catboost"], ["a", "b"])


def test_equal_errors_share_their_rank():
    assert Results(ROWS[:4]).ranks() == {"ours": 1.0, "catboost": 2.5, "hgb": 2.5}


def test_without_two_complete_contestants_the_shared_sets_count():
    results = Results(
        [row("a", "ours", 0.9), row("a", "hgb", 0.8), row("b", "ours", 1.0), row("c", "hgb", 1.0)]
    )

    assert results.comparable() == (["ours", "hgb"], ["a"])


def test_a_line_measured_again_and_another_commit_replace_what_was():
    rows = [row("a", "ours", 0.5, commit="old"), row("a", "hgb", 0.6), *ROWS[:1], row("a", "hgb", 0.7)]

    assert [(r["contestant"], r["score"]) for r in select(rows)] == [("ours", 0.96), ("hgb", 0.7)]
    assert [r["score"] for r in select(rows, commit="old") if r["commit"]] == [0.5]
    assert select(rows, threads=1) == []


def test_the_page_tells_scores_wins_times_and_failures():
    text = page(Results(ROWS))

    assert "| a | roc_auc | **0.9700 ± 0.0141** | 0.9400 | 0.9400 |" in text
    assert "| catboost | 1 of 2 | -13.4% | +50.0% | 0.50 | 0.50 |" in text
    assert "Better than the best of the trees' defaults on 1 of 2 sets." in text
    assert "- hgb on b, seed 0: not done after 9 s" in text


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], APART], ids=["partial", "one", "nothing shared"])
def test_page_and_plots_are_written_whatever_is_there(rows: list[dict[str, Any]]):
    Path("q.jsonl").write_text("\n".join(map(json.dumps, rows)))

    quality_report.main(["q.jsonl"])

    for name in ("q.md", "q_sets.png"):
        assert Path(name).stat().st_size > 100
    assert Path("q.png").exists() == (rows is not APART)


def test_a_file_without_results_is_refused(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        quality_report.main(["none.jsonl"])

    assert "no results in none.jsonl" in capsys.readouterr().err
