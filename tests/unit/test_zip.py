"""dist/pyspark_vision.zip: reproducible, no machine's code, usable as it is."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def build(root: Path, target: Path) -> bytes:
    subprocess.run([sys.executable, root / "scripts" / "build_zip.py", target], check=True)
    return target.read_bytes()


def test_the_same_sources_give_the_same_bytes(root: Path, tmp_path: Path) -> None:
    assert build(root, tmp_path / "a.zip") == build(root, tmp_path / "b" / "b.zip")


def test_it_holds_modules_and_templates_only(root: Path, tmp_path: Path) -> None:
    build(root, tmp_path / "a.zip")

    names = zipfile.ZipFile(tmp_path / "a.zip").namelist()

    assert "pyspark_vision/functions.py" in names
    assert {Path(name).suffix for name in names} == {".py", ".html", ".css"}
    assert {name.split("/")[0] for name in names} == {"pyspark_vision"}


def test_every_package_in_it_is_importable(root: Path, tmp_path: Path) -> None:
    build(root, tmp_path / "a.zip")
    code = "import pyspark_vision.functions as f; print(f.__file__)"

    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "a.zip"), "PATH": "/usr/bin:/bin"},
    )

    assert "a.zip" in run.stdout


def test_a_page_is_made_by_its_template_in_the_zip(root: Path, tmp_path: Path) -> None:
    build(root, tmp_path / "a.zip")
    pq.write_table(pa.table({"embedding": [[3.0, 4.0]]}), tmp_path / "rows.parquet")

    subprocess.run(
        [
            *(sys.executable, "-m", "pyspark_vision.cli.main"),
            *("contact-sheet", "rows.parquet", "--output", "page.html"),
        ],
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "a.zip"), "PATH": "/usr/bin:/bin"},
    )

    assert "norm 5" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_zip_of_the_same_bytes_is_left_alone(root: Path, tmp_path: Path) -> None:
    build(root, tmp_path / "a.zip")
    before = (tmp_path / "a.zip").stat()

    build(root, tmp_path / "a.zip")

    after = (tmp_path / "a.zip").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_who_reads_an_older_zip_goes_on_reading_it(root: Path, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"of an older commit")
    with (tmp_path / "a.zip").open("rb") as running:
        built = build(root, tmp_path / "a.zip")

        assert running.read() == b"of an older commit"
    assert built[:2] == b"PK"
    assert [one.name for one in tmp_path.iterdir()] == ["a.zip"]


def test_a_folder_that_cannot_be_written_is_said_in_one_line(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, root / "scripts" / "build_zip.py", "/proc/none/a.zip"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "/proc/none cannot be written" in done.stderr
