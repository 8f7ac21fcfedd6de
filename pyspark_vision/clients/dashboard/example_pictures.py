"""Small pictures of examples as data: URIs, kept since the same ones are shown again and again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

from pyspark_vision.clients.dashboard.answers import Example
from pyspark_vision.clients.dashboard.source import PictureMissing, Source
from pyspark_vision.contact_sheet.pictures import Unavailable, thumbnail

# A strip has up to 96: the ones of some choices, at 10 kB each.
_MOST_KEPT = 500


@dataclass(frozen=True)
class Shown:
    """An example with its picture, or why there is none.

    ``boxes``: xmin, ymin, xmax, ymax in [0, 1], which are not drawn on it yet.
    """

    example: Example
    data_uri: str = ""
    width: int = 0
    height: int = 0
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    why_missing: str = ""


class ExamplePictures:
    """The pictures of a source's examples."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._kept: OrderedDict[tuple[str, str, str], Shown] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def why_none(self) -> str:
        """Why a source has not one example."""
        try:
            self._source.picture(Example(False, "", "", None, "", ""))
        except PictureMissing as error:
            return str(error)
        return "the rows have no column origin, by which a picture would be found"

    def shown(self, example: Example) -> Shown:
        """The example with its picture; made once."""
        key = (example.file, example.origin, example.label)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        picture = self._made(example)
        with self._lock:
            self._kept[key] = picture
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return picture

    def _made(self, example: Example) -> Shown:
        try:
            picture = self._source.picture(example)
        except PictureMissing as error:
            return Shown(example, why_missing=str(error))
        small = thumbnail(picture.encoded, side_px=_SIDE_PX)
        if isinstance(small, Unavailable):
            return Shown(example, why_missing=small.reason)
        return Shown(example, small.data_uri, small.width, small.height, picture.boxes)


# Shown at most 220 px wide, on screens of up to 1.5 pixels to one.
_SIDE_PX = 320
