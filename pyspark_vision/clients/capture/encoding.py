"""Pictures as the JPEGs that are sent."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image

# Week 9's; PyctureStream's own client leaves it to OpenCV, whose default is 95.
DEFAULT_QUALITY = 85


@dataclass(frozen=True)
class Encoding:
    """``size_wh``: pictures are scaled to fit into it, ``None``: as they are. ``quality``: of JPEG,
    1 to 95, ``None``: :data:`DEFAULT_QUALITY`."""

    size_wh: tuple[int, int] | None = None
    quality: int | None = None

    @property
    def keeps_files(self) -> bool:
        """Whether a JPEG that is there already is sent as it is."""
        return self.size_wh is None and self.quality is None


AS_IT_IS = Encoding()


def fitted_wh(picture_wh: tuple[int, int], size_wh: tuple[int, int] | None) -> tuple[int, int]:
    """The largest size of the picture's proportions within ``size_wh``.

    >>> fitted_wh((1920, 1080), (640, 480))
    (640, 360)
    >>> fitted_wh((320, 240), (640, 480))
    (640, 480)
    """
    if size_wh is None:
        return picture_wh
    scale = min(size_wh[0] / picture_wh[0], size_wh[1] / picture_wh[1])
    return max(1, round(picture_wh[0] * scale)), max(1, round(picture_wh[1] * scale))


def jpeg_of(image: Image.Image, encoding: Encoding) -> bytes:
    """An RGB picture as JPEG."""
    wanted_wh = fitted_wh(image.size, encoding.size_wh)
    if image.size != wanted_wh:
        image = image.resize(wanted_wh, Image.Resampling.BILINEAR, reducing_gap=2.0)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=encoding.quality or DEFAULT_QUALITY)
    return file.getvalue()
