"""The benchmark's arithmetic: ratios by rounds, the line through measurements, tables, charts."""

from __future__ import annotations

import pytest

from benchmarks.chart import Bar, bar_chart
from benchmarks.figures import agreement, fit_line, ratio, ratio_table, table


def test_a_ratio_is_the_median_of_the_rounds_ratios_and_not_that_of_medians() -> None:
    rates = {"a": [10.0, 20.0, 90.0], "b": [10.0, 10.0, 30.0]}

    found = ratio(rates, "a", "b", target=1.9)

    assert found.rounds == (1.0, 2.0, 3.0)
    assert (found.median, found.met) == (2.0, True)
    assert found.images_per_s == {"a": 20.0, "b": 10.0}
    assert found.as_json() == {
        "median": 2.0,
        "low": 1.0,
        "high": 3.0,
        "rounds": [1.0, 2.0, 3.0],
        "target": 1.9,
        "met": True,
        "images_per_s": {"a": 20.0, "b": 10.0},
    }


@pytest.mark.parametrize(("target", "met"), [(2.0, True), (2.01, False), (None, None)])
def test_a_target_is_met_from_its_own_value_on(target: float | None, met: bool | None) -> None:
    assert ratio({"a": [4.0], "b": [2.0]}, "a", "b", target).met is met


def test_rounds_of_one_contender_alone_are_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio({"a": [1.0, 2.0], "b": [1.0]}, "a", "b", None)


def test_points_on_a_line_have_no_residuals() -> None:
    line = fit_line([100, 300, 1000], [1.5 + 0.01 * n for n in (100, 300, 1000)])

    assert line.start == pytest.approx(1.5)
    assert line.slope == pytest.approx(0.01)
    assert line.r_squared == pytest.approx(1.0)
    assert line.largest_relative_deviation == pytest.approx(0.0, abs=1e-9)


def test_a_point_off_the_line_shows_in_residuals_and_deviation() -> None:
    line = fit_line([0, 1, 2], [1.0, 4.0, 1.0])

    assert line.residuals == pytest.approx((-1.0, 2.0, -1.0))
    assert line.largest_relative_deviation == pytest.approx(1.0)
    assert line.r_squared == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("mine", "theirs", "share"),
    [
        ({"1": 7, "2": 8}, {"1": 7, "2": 8}, 1.0),
        ({"1": 7, "2": 8}, {"1": 7, "2": 9}, 0.5),
        ({"1": 7, "2": 8}, {"1": 7}, 0.0),
        ({}, {}, 0.0),
    ],
)
def test_agreement_needs_the_same_ids(
    mine: dict[str, int], theirs: dict[str, int], share: float
) -> None:
    assert agreement(mine, theirs) == share


def test_a_table_lines_up() -> None:
    assert table(["a", "long"], [["wide cell", "1"]]).splitlines() == [
        "| a         | long |",
        "|-----------|------|",
        "| wide cell | 1    |",
    ]


def test_the_table_says_which_targets_were_missed() -> None:
    ratios = {
        name: ratio({"x": [3.0], "y": [2.0]}, "x", "y", target).as_json()
        for name, target in (("met", 1.0), ("missed", 2.0), ("told", None))
    }

    rows = ratio_table(ratios).splitlines()[2:]

    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells == [
        ["`met`", "1.50", "1.50 – 1.50", "1", "yes", "x 3.0, y 2.0"],
        ["`missed`", "1.50", "1.50 – 1.50", "2", "**no**", "x 3.0, y 2.0"],
        ["`told`", "1.50", "1.50 – 1.50", "", "", "x 3.0, y 2.0"],
    ]


def test_a_chart_holds_its_bars_and_escapes_labels() -> None:
    chart = bar_chart("images/s", [Bar("a < b", 20.0, ours=True), Bar("c", 10.0)])

    assert "a &lt; b" in chart
    assert 'width="430.0"' in chart
    assert 'width="215.0"' in chart
