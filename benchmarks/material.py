"""Pictures that every contender reads, made once: JPEGs, and Parquet folders of ``id, content``."""

from __future__ import annotations

import io
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from benchmarks.places import PHOTOS, WORK

VGA_WH, TWELVE_MPX_WH = (640, 480), (4000, 3000)
SMALL_WH, TINY_WH = (320, 240), (128, 96)

# Pictures that are not alike, by size; datasets of more rows repeat them. 60 of 12 megapixels are
# 150 MB of files and a minute to make.
DISTINCT = {VGA_WH: 500, TWELVE_MPX_WH: 60, SMALL_WH: 500, TINY_WH: 50}

# What engines of this kind split over: Spark packs files into tasks, Ray and Daft read them apart.
FILES = 8


def pictures(size_wh: tuple[int, int]) -> list[Path]:
    """JPEG files of this size, quality 90: crops of real photos where there are any, else drawn."""
    folder = WORK / "pictures" / _size_name(size_wh)
    wanted = DISTINCT[size_wh]
    files = [folder / f"{index:05}.jpg" for index in range(wanted)]
    if not files[-1].is_file():  # the last one that is written
        print(f"making {wanted} pictures of {_size_name(size_wh)}", flush=True)
        folder.mkdir(parents=True, exist_ok=True)
        for file, image in zip(files, _images(wanted, size_wh), strict=True):
            buffer = io.BytesIO()
            image.save(buffer, "JPEG", quality=90)
            file.write_bytes(buffer.getvalue())
    return files


def dataset(size_wh: tuple[int, int], rows: int) -> Path:
    """A folder of Parquet files with ``id: long, content: binary``."""
    folder = WORK / "datasets" / f"{_size_name(size_wh)}-{rows}"
    if not folder.is_dir():
        files = pictures(size_wh)
        contents = [file.read_bytes() for file in files]

        def part(ids: range) -> pa.Table:
            column = [contents[index % len(contents)] for index in ids]
            return pa.table({"id": pa.array(ids, pa.int64()), "content": pa.array(column)})

        _write(folder, rows, part)
    return folder


def uri_dataset(name: str, uris: list[str]) -> Path:
    """The same of ``id: long, uri: string``; made anew, since addresses change."""
    folder = WORK / "datasets" / name
    shutil.rmtree(folder, ignore_errors=True)

    def part(ids: range) -> pa.Table:
        return pa.table(
            {"id": pa.array(ids, pa.int64()), "uri": pa.array([uris[index] for index in ids])}
        )

    _write(folder, len(uris), part)
    return folder


def read_rows(folder: str, share: int = 0, shares: int = 1) -> Iterator[tuple[int, bytes]]:
    """``(id, content)`` of every ``shares``-th file, a few rows in memory at a time."""
    for file in sorted(Path(folder).glob("*.parquet"))[share::shares]:
        for batch in pq.ParquetFile(file).iter_batches(64):
            for row_id, content in zip(batch["id"], batch["content"], strict=True):
                yield row_id.as_py(), content.as_py()


def _write(folder: Path, rows: int, part: Callable[[range], pa.Table]) -> None:
    # Under its name only when it is whole: a run that was stopped leaves no half dataset.
    making = folder.with_name(folder.name + ".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    for index in range(FILES):
        ids = range(index * rows // FILES, (index + 1) * rows // FILES)
        # Real pictures do not repeat: without a dictionary, which would store these once.
        pq.write_table(
            part(ids), making / f"{index}.parquet", compression="none", use_dictionary=False
        )
    making.rename(folder)


def _images(count: int, size_wh: tuple[int, int]) -> Iterator[Image.Image]:
    if not PHOTOS.is_dir():
        from pyspark_vision.clients import scenes

        for seed in range(count):
            yield scenes.draw_scene(seed, size_wh)[0]
        return
    photos = [Image.open(file).convert("RGB") for file in sorted(PHOTOS.iterdir())]
    rng = random.Random(0)
    for index in range(count):
        yield _crop(photos[index % len(photos)], size_wh, rng)


def _crop(photo: Image.Image, size_wh: tuple[int, int], rng: random.Random) -> Image.Image:
    """A part of the photo of 0.6 to 1 of its largest window of these proportions, or its mirror."""
    scale = min(photo.width / size_wh[0], photo.height / size_wh[1]) * rng.uniform(0.6, 1.0)
    width, height = size_wh[0] * scale, size_wh[1] * scale
    left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
    image = photo.resize(
        size_wh, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height)
    )
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else image


def _size_name(size_wh: tuple[int, int]) -> str:
    return f"{size_wh[0]}x{size_wh[1]}"
