"""The contact sheet: what it counts, what it shows, and that data stays data."""

from __future__ import annotations

import argparse
import base64
import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from page_tags import page_tags
from PIL import Image

from pyspark_vision.cli import contact_sheet
from pyspark_vision.contact_sheet.files import ContactSheetError
from pyspark_vision.contact_sheet.pictures import Thumbnail, Unavailable, thumbnail
from pyspark_vision.contact_sheet.sheet import SheetCounts, build_contact_sheet
from pyspark_vision.executor import results

SCORED = [("class_id", pa.int32()), ("label", pa.string()), ("score", pa.float32())]
EDGES = [(name, pa.float32()) for name in ("xmin", "ymin", "xmax", "ymax")]
ITEMS = {
    "detections": pa.list_(pa.struct(SCORED + EDGES)),
    "predictions": pa.list_(pa.struct(SCORED)),
    "segments": results.SEGMENTS_TYPE,
    "poses": results.POSES_TYPE,
    "lines": pa.list_(results.TEXT_LINE_TYPE),
    "embedding": pa.list_(pa.float32()),
}
BESIDE = [
    ("width", pa.int32()),
    ("height", pa.int32()),
    ("model", pa.string()),
    ("model_sha256", pa.string()),
    ("error", pa.struct([("code", pa.string()), ("message", pa.string())])),
]
NASTY = "\"><img src=x onerror=alert(1)> & <script>alert('x')</script>"
SHA = "0123456789abcdef" * 4


def box(label: str | None = "cat", class_id: int = 17, score: float = 0.9, **edges: float) -> Any:
    places = {"xmin": 0.1, "ymin": 0.2, "xmax": 0.6, "ymax": 0.8, **edges}
    return {"class_id": class_id, "label": label, "score": score, **places}


def result(items: Any, name: str = "detections", **changes: Any) -> dict[str, Any]:
    fine = {"width": 64, "height": 48, "model": "ssd", "model_sha256": SHA, "error": None}
    return {name: items, **fine, **changes}


def failed(code: str | None = "truncated", message: str | None = "cut short") -> dict[str, Any]:
    return result(None, error={"code": code, "message": message})


def write(
    folder: Path,
    results: list[Any],
    name: str = "detections",
    *,
    file: str = "part-0.parquet",
    struct: bool = True,
    **columns: tuple[pa.DataType, list[Any]],
) -> Path:
    """Write rows of the contract, in a struct column or flat, with more columns beside them."""
    fields = [(name, ITEMS[name]), *BESIDE]
    rows = pa.array(results, pa.struct(fields))
    table = {"result": rows} if struct else dict(zip(dict(fields), rows.flatten(), strict=True))
    table |= {key: pa.array(values, kind) for key, (kind, values) in columns.items()}
    target = folder / file
    target.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), target)
    return folder


def picture(size: tuple[int, int] = (64, 48), kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, (200, 60, 30)).save(buffer, kind, **options)
    return buffer.getvalue()


def sheet(results: Path, **options: Any) -> tuple[SheetCounts, str]:
    output = results.parent / "sheet.html"
    counts = build_contact_sheet(results, output, **options)
    return counts, output.read_text(encoding="utf-8")


def text_of(page: str) -> str:
    """The text a person reads, without tags, styles and scripts."""
    bare = re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", bare))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "results"


def test_counts_of_detections(folder: Path) -> None:
    write(folder, [result([box(), box()]), result([box("dog", 18)]), result([]), failed()])
    counts, _ = sheet(folder)
    assert counts == SheetCounts(
        task="detect",
        pictures=4,
        with_results=2,
        without_results=1,
        failed=1,
        shown=4,
        by_class={"cat": 2, "dog": 1},
        by_error={"truncated": 1},
    )


def test_classify_counts_a_picture_for_its_best_class(folder: Path) -> None:
    best = {"class_id": 1, "label": "owl", "score": 0.75}
    next_best = {"class_id": 2, "label": "cat", "score": 0.25}
    write(folder, [result([best, next_best], "predictions")], "predictions")
    counts, page = sheet(folder)
    assert (counts.task, counts.by_class) == ("classify", {"owl": 1})
    assert "owl 75% cat 25%" in text_of(page)


def painted(page: str) -> Image.Image:
    """The picture of the only card."""
    (encoded,) = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)
    return Image.open(io.BytesIO(base64.b64decode(encoded))).convert("RGB")


def is_drawn_at(image: Image.Image, x: float, y: float) -> bool:
    """Whether another colour than the picture's own stands there; JPEG moves it by a few levels."""
    color = np.array(image.getpixel((round(x * image.width), round(y * image.height))))
    return bool(np.abs(color - (200, 60, 30)).max() > 25)


def test_masks_are_drawn_on_their_pictures_and_named_without_boxes(folder: Path) -> None:
    # The left one of two columns, of a mask that is smaller than the picture.
    segment = {**box("sky", 3), "area": 1, "mask": {"size": [1, 2], "counts": "011"}}
    content = (pa.binary(), [picture()])
    write(folder, [result([segment], "segments")], "segments", content=content)

    counts, page = sheet(folder)

    assert (counts.task, counts.by_class) == ("segment", {"sky": 1})
    assert "sky 90%" in text_of(page)
    assert 'class="plate"' in page
    assert 'class="box"' not in page
    image = painted(page)
    assert [is_drawn_at(image, x, 0.5) for x in (0.2, 0.8)] == [True, False]


def text_line(text: Any = "Spark 42", score: Any = 0.97) -> dict[str, Any]:
    """Around the middle of the picture, a bit askew."""
    places = ((0.25, 0.4), (0.75, 0.45), (0.75, 0.65), (0.25, 0.6))
    return {"text": text, "score": score, "corners": [{"x": x, "y": y} for x, y in places]}


def test_lines_of_text_are_drawn_on_their_pictures_and_listed(folder: Path) -> None:
    content = (pa.binary(), [picture((320, 240)), picture()])
    rows = [result([text_line(), text_line("", None)], "lines"), result([], "lines")]
    write(folder, rows, "lines", content=content)

    counts, page = sheet(folder, limit=1)

    assert (counts.task, counts.with_results, counts.without_results) == ("ocr", 1, 1)
    assert counts.by_class == {}
    assert "1 Spark 42 97% 2 no text –" in text_of(page)
    assert page.count('class="plate"') == 2
    assert 'class="box"' not in page
    assert is_drawn_at(painted(page), 0.25, 0.5)
    assert not is_drawn_at(painted(page), 0.5, 0.5)


@pytest.mark.parametrize("corners", [None, [], [{"x": None, "y": 0.5}] * 4])
def test_a_line_without_corners_is_listed_and_not_drawn(folder: Path, corners: Any) -> None:
    content = (pa.binary(), [picture()])
    line = {**text_line(), "corners": corners}
    write(folder, [result([line], "lines")], "lines", content=content)

    _, page = sheet(folder)

    assert "1 Spark 42 97%" in text_of(page)
    assert 'class="plate"' not in page


def test_points_are_drawn_on_their_pictures_inside_their_boxes(folder: Path) -> None:
    points = [
        {"name": "left_hip", "x": 0.2, "y": 0.5, "score": 0.9},
        {"name": "right_hip", "x": 0.8, "y": 0.5, "score": None},
        {"name": "nose", "x": 0.5, "y": 0.1, "score": 0.1},
    ]
    pose = {**box(None, 0), "keypoints": points}
    content = (pa.binary(), [picture((640, 480))])
    write(folder, [result([pose], "poses")], "poses", content=content)

    counts, page = sheet(folder)

    assert (counts.task, counts.by_class) == ("keypoints", {"#0": 1})
    assert 'class="box"' in page
    image = painted(page)
    places = [(0.2, 0.5), (0.5, 0.5), (0.5, 0.1)]
    assert [is_drawn_at(image, *place) for place in places] == [True, True, False]


def test_a_mask_that_cannot_be_read_leaves_the_picture_as_it_is(folder: Path) -> None:
    segment = {**box("sky", 3), "area": 1, "mask": {"size": [1, 2], "counts": NASTY}}
    content = (pa.binary(), [picture()])
    write(folder, [result([segment], "segments")], "segments", content=content)

    counts, page = sheet(folder)

    assert counts.with_results == 1
    assert not is_drawn_at(painted(page), 0.5, 0.5)


def test_embedding_shows_length_norm_and_strip(folder: Path) -> None:
    write(folder, [result([3.0, 4.0], "embedding")], "embedding")
    counts, page = sheet(folder)
    assert (counts.task, counts.with_results) == ("embed", 1)
    assert "2 values · norm 5" in text_of(page)
    assert 'src="data:image/png;base64,' in page


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1.0, float("nan"), float("inf")], "3 values · 2 not finite"),
        ([0.0] * 5000, "5,000 values · norm 0"),
        ([None, 1.0], "2 values · 1 not finite"),
    ],
)
def test_odd_embeddings_are_shown(folder: Path, values: list[Any], shown: str) -> None:
    write(folder, [result(values, "embedding")], "embedding")
    assert shown in text_of(sheet(folder)[1])


def test_empty_embedding_counts_as_without(folder: Path) -> None:
    write(folder, [result([], "embedding")], "embedding")
    assert sheet(folder)[0].without_results == 1


@pytest.mark.parametrize("name", ["detections", "predictions", "embedding"])
def test_flat_columns_are_found_too(folder: Path, name: str) -> None:
    write(folder, [result([], name), failed() | {name: None}], name, struct=False)
    counts, _ = sheet(folder)
    assert (counts.without_results, counts.failed) == (1, 1)


def test_empty_dataset_gives_a_page(folder: Path) -> None:
    write(folder, [])
    counts, page = sheet(folder)
    assert (counts.pictures, counts.shown) == (0, 0)
    assert "There are no rows" in page


def test_null_origin_is_named_by_its_row(folder: Path) -> None:
    write(folder, [result([]), result([])], origin=(pa.string(), ["/in/a.jpg", None]))
    assert "Row 2" in text_of(sheet(folder)[1])


def test_row_without_result_and_error_counts_as_failed(folder: Path) -> None:
    write(folder, [result(None), None])
    assert sheet(folder)[0].by_error == {"no_result": 2}


def test_error_without_code_and_message_counts_as_failed(folder: Path) -> None:
    write(folder, [failed(None, None)])
    assert sheet(folder)[0].by_error == {"no_code": 1}


def test_failure_is_shown_with_code_and_message(folder: Path) -> None:
    write(folder, [failed("fetch_denied", "HTTP 403 for s3a://x")])
    assert "fetch_denied HTTP 403 for s3a://x" in text_of(sheet(folder)[1])


@pytest.mark.parametrize(
    "bad",
    [
        box(xmin=float("nan")),
        box(xmin=0.9, xmax=0.1),
        box(score=float("nan")),
        box(None),
        {"class_id": None, "label": None, "score": None} | dict.fromkeys(dict(EDGES)),
        None,
    ],
)
def test_odd_detection_does_not_stop_the_page(folder: Path, bad: Any) -> None:
    write(folder, [result([bad, box()])], content=(pa.binary(), [picture()]))
    counts, page = sheet(folder)
    assert counts.with_results == 1
    assert "cat" in text_of(page)


def test_text_that_is_not_utf8_is_shown_with_a_mark(folder: Path) -> None:
    kinds = [("class_id", pa.int32()), ("label", pa.binary()), ("score", pa.float32())]
    rows = [[{"class_id": 1, "label": b"caf\xe9", "score": 0.5}]]
    folder.mkdir()
    table = pa.table({"predictions": pa.array(rows, pa.list_(pa.struct(kinds)))})
    pq.write_table(table, folder / "a.parquet")
    assert "caf\ufffd" in sheet(folder)[1]


def test_batch_id_folders_are_read_in_natural_order(folder: Path) -> None:
    for batch in (10, 2):
        origin = (pa.string(), [f"/in/{batch}.jpg"])
        write(folder, [result([])], file=f"batch_id={batch}/part-0.parquet", origin=origin)
    _, page = sheet(folder)
    assert page.index("/in/2.jpg") < page.index("/in/10.jpg")


def test_hidden_and_uncommitted_files_are_left_out(folder: Path) -> None:
    write(folder, [result([])])
    write(folder, [result([])], file="_temporary/0/part-1.parquet")
    write(folder, [result([])], file="batch_id=1/.part-2.parquet")
    assert sheet(folder)[0].pictures == 1


def test_single_file_is_accepted(folder: Path) -> None:
    write(folder, [result([])])
    assert sheet(folder / "part-0.parquet")[0].pictures == 1


@pytest.mark.parametrize("name", ["detections", "predictions"])
def test_everything_from_data_is_escaped(folder: Path, name: str) -> None:
    item = box(NASTY) if name == "detections" else {"class_id": 1, "label": NASTY, "score": 0.5}
    names = {"model": NASTY, "model_sha256": NASTY}
    rows = [
        result([item], name, **names),
        result(None, name, error={"code": NASTY, "message": NASTY}),
    ]
    columns: dict[str, Any] = {
        "origin": (pa.string(), [f"/in/{NASTY}.jpg", NASTY]),
        "content": (pa.binary(), [picture(), None]),
    }
    write(folder, rows, name, **columns)
    _, page = sheet(folder, title=NASTY)
    seen = page_tags(page)
    assert "script" not in seen.tags
    assert not {attribute for attribute in seen.attributes if attribute.startswith("on")}
    assert {link.split(",")[0] for link in seen.links} <= {
        "data:image/jpeg;base64", "#with", "#without", "#failed",
    }  # fmt: skip
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;" in page


def test_page_is_self_contained(folder: Path) -> None:
    write(folder, [result([box()])], content=(pa.binary(), [picture()]))
    _, page = sheet(folder)
    assert "default-src 'none'" in page
    assert 'name="viewport"' in page
    assert not re.search(r"https?://|@import|url\(", page)


def test_control_characters_do_not_reach_the_page(folder: Path) -> None:
    write(folder, [result([box("a\x00b\u202ec\x1b")])])
    _, page = sheet(folder)
    assert "a\ufffdb\ufffdc\ufffd" in page


def test_limit_keeps_failed_rows_first_and_counts_all(folder: Path) -> None:
    origins = [f"/in/{number}.jpg" for number in range(5)]
    rows = [result([box()]), result([box()]), failed(), result([]), failed()]
    write(folder, rows, origin=(pa.string(), origins))
    counts, page = sheet(folder, limit=3)
    assert (counts.pictures, counts.failed, counts.shown) == (5, 2, 3)
    assert re.findall(r"/in/(\d)\.jpg</p>", page) == ["2", "4", "0"]
    assert "3 of 5 pictures are shown" in page


def test_limit_holds_over_files(folder: Path) -> None:
    for number in range(3):
        write(folder, [failed(), result([])], file=f"part-{number}.parquet")
    assert sheet(folder, limit=2)[0].shown == 2


def test_limit_zero_gives_the_counts_alone(folder: Path) -> None:
    write(folder, [result([box()])], content=(pa.binary(), [picture()]))
    counts, page = sheet(folder, limit=0)
    assert (counts.pictures, counts.shown) == (1, 0)
    assert "<article" not in page


def test_full_sheet_has_no_note_on_left_out_cards(folder: Path) -> None:
    write(folder, [result([])])
    assert "are shown" not in sheet(folder)[1]


def test_boxes_are_laid_over_the_source_picture(folder: Path) -> None:
    write(folder, [result([box()])], content=(pa.binary(), [picture()]))
    assert "left:10.00%;top:20.00%;width:50.00%;height:60.00%" in sheet(folder)[1]


@pytest.mark.parametrize("column", ["annotated", "image"])
def test_annotated_picture_gets_no_second_boxes(folder: Path, column: str) -> None:
    columns: dict[str, Any] = {column: (pa.binary(), [picture()])}
    write(folder, [result([box()])], **columns)
    _, page = sheet(folder)
    assert "data:image/jpeg" in page
    assert 'class="box"' not in page


def test_pictures_belong_to_their_rows_across_row_groups(folder: Path) -> None:
    sizes = [(10 + number, 20) for number in range(40)]
    rows = pa.array([result([]) for _ in sizes], pa.struct([("detections", ITEMS["detections"])]))
    content = pa.array([picture(size) for size in sizes], pa.binary())
    origin = pa.array([f"/in/{width}.jpg" for width, _ in sizes])
    folder.mkdir()
    table = pa.table({"origin": origin, "content": content, "result": rows})
    pq.write_table(table, folder / "a.parquet", row_group_size=7)
    _, page = sheet(folder)
    shown = re.findall(r'alt="(\d+)\.jpg" width="(\d+)"', page)
    assert len(shown) == 40
    assert all(name == width for name, width in shown)


@pytest.mark.parametrize("form", ["{}", "file:{}", "file://{}", "file://localhost{}"])
def test_picture_is_read_from_a_local_origin(folder: Path, form: str) -> None:
    source = folder.parent / "a photo #1.png"
    source.write_bytes(picture())
    write(folder, [result([])], origin=(pa.string(), [form.format(source)]))
    assert "data:image/jpeg" in sheet(folder)[1]


def test_percent_encoded_file_uri_is_read(folder: Path) -> None:
    source = folder.parent / "a photo.png"
    source.write_bytes(picture())
    write(folder, [result([])], origin=(pa.string(), [source.as_uri()]))
    assert "data:image/jpeg" in sheet(folder)[1]


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ("/no/such/file.jpg", "no such local file"),
        ("s3a://bucket/key.jpg", "s3a: is not a local file"),
        ("file://other-host/a.jpg", "on another host"),
        ("/dev/zero", "not a regular file"),
        ("/tmp", "not a regular file"),
        ("a\x00b", "not a readable local file"),
        ("http://[", "not a readable local file"),
        ("/" + "x" * 5000, "not a readable local file"),
        (None, "the row names no origin"),
    ],
)
def test_picture_that_cannot_be_fetched_says_why(
    folder: Path, origin: str | None, reason: str
) -> None:
    write(folder, [result([box()])], origin=(pa.string(), [origin]))
    assert f"Picture not available {reason}" in text_of(sheet(folder)[1])


def test_named_pipe_as_origin_does_not_block(folder: Path) -> None:
    pipe = folder.parent / "pipe.jpg"
    os.mkfifo(pipe)
    write(folder, [result([])], origin=(pa.string(), [str(pipe)]))
    assert "not a regular file" in sheet(folder)[1]


@pytest.mark.parametrize(
    "content",
    [b"no picture", picture()[:60], b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"],
)
def test_picture_that_cannot_be_opened_says_so(folder: Path, content: bytes) -> None:
    write(folder, [result([])], content=(pa.binary(), [content]))
    assert "not a readable picture" in sheet(folder)[1]


def test_failed_row_without_picture_says_so_beside_the_reason(folder: Path) -> None:
    write(folder, [failed()], content=(pa.binary(), [b"broken"]))
    assert "truncated cut short Picture not available: not a readable" in text_of(sheet(folder)[1])


def test_picture_with_too_many_pixels_is_not_decoded() -> None:
    shown = thumbnail(picture((9000, 8000)))
    assert shown == Unavailable("9,000 × 8,000 pixels are too many")


def test_thumbnail_is_small_and_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    shown = thumbnail(picture((1200, 600), "JPEG", exif=exif))
    assert isinstance(shown, Thumbnail)
    assert (shown.width, shown.height) == (240, 480)
    decoded = Image.open(io.BytesIO(base64.b64decode(shown.data_uri.split(",")[1])))
    assert (decoded.format, decoded.size) == ("JPEG", (240, 480))


def test_transparent_picture_lies_on_white() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(buffer, "PNG")
    shown = thumbnail(buffer.getvalue())
    assert isinstance(shown, Thumbnail)
    decoded = Image.open(io.BytesIO(base64.b64decode(shown.data_uri.split(",")[1])))
    assert decoded.getpixel((4, 4)) == (255, 255, 255)


def test_many_detections_are_folded_and_capped(folder: Path) -> None:
    write(folder, [result([box()] * 130)], content=(pa.binary(), [picture()]))
    counts, page = sheet(folder)
    assert counts.by_class == {"cat": 130}
    assert page.count('class="box"') == 100
    assert "124 more" in page
    assert "and 30 more, not drawn" in page


def test_model_and_short_sha_are_named(folder: Path) -> None:
    write(folder, [result([])])
    assert "ssd 0123456789ab " in text_of(sheet(folder)[1])


def test_missing_folder_is_named(folder: Path) -> None:
    with pytest.raises(ContactSheetError, match=r"RESULTS='.*results' does not exist: name"):
        sheet(folder)


def test_folder_without_parquet_is_named(folder: Path) -> None:
    folder.mkdir()
    (folder / "_SUCCESS").touch()
    with pytest.raises(ContactSheetError, match=r"holds no \*\.parquet file"):
        sheet(folder)


def test_damaged_parquet_is_named(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(ContactSheetError, match="cannot be read"):
        sheet(folder)


def test_missing_result_column_lists_the_columns_found(folder: Path) -> None:
    folder.mkdir()
    pq.write_table(pa.table({"path": ["a"], "detections": ["[]"]}), folder / "a.parquet")
    with pytest.raises(ContactSheetError, match="Columns found: path: string, detections: string"):
        sheet(folder)


def test_files_of_two_tasks_are_named(folder: Path) -> None:
    write(folder, [result([])], file="a.parquet")
    write(folder, [result([], "predictions")], "predictions", file="b.parquet")
    with pytest.raises(ContactSheetError, match=r"a\.parquet holds detections, b\.parquet holds"):
        sheet(folder)


def test_files_may_differ_in_the_columns_beside_the_result(folder: Path) -> None:
    write(folder, [result([])], file="a.parquet")
    columns: dict[str, Any] = {"content": (pa.binary(), [picture()])}
    write(folder, [result([])], file="b.parquet", struct=False, **columns)
    counts, page = sheet(folder)
    assert counts.pictures == 2
    assert page.count("data:image/jpeg") == 1


def test_text_columns_with_a_dictionary_are_read(folder: Path) -> None:
    folder.mkdir()
    origin = pa.array(["/in/a.jpg"]).dictionary_encode()
    items = pa.array([[box()]], ITEMS["detections"])
    pq.write_table(pa.table({"origin": origin, "detections": items}), folder / "a.parquet")
    assert "/in/a.jpg" in sheet(folder)[1]


def test_negative_limit_is_named(folder: Path) -> None:
    write(folder, [])
    with pytest.raises(ContactSheetError, match="limit=-1"):
        sheet(folder, limit=-1)


def test_output_in_a_missing_folder_is_named(folder: Path) -> None:
    write(folder, [])
    with pytest.raises(ContactSheetError, match=r"output='.*/no/sheet\.html'"):
        build_contact_sheet(folder, folder / "no" / "sheet.html")


def command(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    contact_sheet.add_arguments(parser)
    return contact_sheet.run(parser.parse_args(arguments))


def test_command_writes_the_page_and_says_what_is_on_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder, [result([box()]), failed()])
    output = folder.parent / "x.html"
    assert command(str(folder), "--output", str(output), "--title", "Cats & dogs") == 0
    assert "<title>Cats &amp; dogs</title>" in output.read_text(encoding="utf-8")
    assert "2 pictures, 1 with detections, 0 without, 1 failed; 2 shown" in capsys.readouterr().out


def test_command_ends_with_2_for_a_mistake(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(str(folder), "--output", str(folder.parent / "x.html")) == 2
    assert "does not exist" in capsys.readouterr().err
