"""Flags of how a job reads pictures: what they mean, and what is refused in one line."""

from __future__ import annotations

import importlib.util

import pytest

from pyspark_vision.columns.options import decode_options
from pyspark_vision.job import decode_flags
from pyspark_vision.job.arguments import Parser


def parser(*, warnings: bool = True) -> Parser:
    job = Parser(prog="job")
    decode_flags.add_decode(job.add_argument_group("model"), exact=True, warnings=warnings)
    return job


@pytest.mark.parametrize(
    ("words", "keywords"),
    [
        ("", {}),
        ("--exact", {"exact": True}),
        ("--formats jpeg heic tiff", {"formats": ["JPEG", "HEIF", "TIFF"]}),
        ("--decode lenient", {"decode": "lenient"}),
        ("--decode strict --icc ignore --grey-range full", {}),
        ("--icc srgb", {"icc": "srgb"}),
        ("--grey-range minmax", {"grey_range": "minmax"}),
        ("--grey-range percentiles", {"grey_range": "percentiles"}),
        ("--grey-range percentiles:2,98.5", {"grey_range": ("percentiles", 2.0, 98.5)}),
        ("--grey-range 3000,3400", {"grey_range": (3000.0, 3400.0)}),
        ("--grey-range=-40,1e3", {"grey_range": (-40.0, 1000.0)}),
    ],
)
def test_flags_are_the_keywords_of_the_image_functions(
    words: str, keywords: dict[str, object]
) -> None:
    found = decode_flags.decode_keywords(parser().parse_args(words.split()))
    assert found == keywords
    decode_options("f", found)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--formats psd", "argument --formats: 'psd' is none of JPEG, PNG, GIF"),
        ("--decode loose", "argument --decode: invalid choice: 'loose'"),
        ("--icc p3", "argument --icc: invalid choice: 'p3'"),
        ("--grey-range wide", "argument --grey-range: 'wide' is none of full, minmax"),
        ("--grey-range 9,1", "'9,1' is none of full, minmax"),
        ("--grey-range 1,x", "'1,x' is none of full, minmax"),
        ("--grey-range percentiles:1,101", "percentiles within 0..100"),
        ("--grey-range minmax:1,2", "'minmax:1,2' is none of full"),
        ("--grey-range percentiles:", "'percentiles:' is none of full"),
    ],
)
def test_a_bad_value_is_one_line(words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(words.split())
    assert ended.value.code == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1


def test_a_missing_extra_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit):
        parser().parse_args(["--formats", "HEIC"])
    assert capsys.readouterr().err == (
        "job: error: argument --formats: formats has HEIF, which needs the extra heif, here and on "
        "executors: pip install 'pyspark_vision[heif]' (see --help)\n"
    )


def test_a_job_whose_results_have_no_warnings_does_not_offer_what_makes_them() -> None:
    options = parser(warnings=False).parse_args([])
    assert not hasattr(options, "decode")
    assert not hasattr(options, "icc")
    assert decode_flags.decode_keywords(options) == {}


def test_the_setting_that_a_job_keeps_is_as_before_where_only_exact_is_said() -> None:
    assert decode_flags.described({}) == "False"
    assert decode_flags.described({"exact": True}) == "True"
    assert (
        decode_flags.described({"formats": ["JPEG", "HEIF"], "grey_range": (1.0, 2.0)})
        == "False, formats=JPEG HEIF, grey_range=1.0 2.0"
    )
