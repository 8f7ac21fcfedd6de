"""ICC profiles: what a picture's samples mean, and their way to sRGB (LittleCMS, by Pillow)."""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass

from PIL import Image, ImageCms

from pyspark_vision.executor.row_errors import RowWarning, WarningCode

# A profile's colour space (ICC.1:2022, table 19) -> Pillow's mode of such samples.
_MODES = {"RGB ": "RGB", "GRAY": "L", "CMYK": "CMYK"}
_GREY_MODES = ("1", "L", "LA", "I", "F")

# A camera's pictures have one profile; that of a press has half a megabyte.
_CACHED_TRANSFORMS = 8


@dataclass(frozen=True)
class Profile:
    """A profile that fits its picture. ``mode``: of the samples that it is for: RGB, L or CMYK."""

    data: bytes
    mode: str

    def to_srgb(self, image: Image.Image) -> Image.Image:
        """An image of ``mode`` -> RGB of sRGB."""
        return _transform(self.data, self.mode).apply(image)


def profile_of(image: Image.Image) -> tuple[Profile | None, RowWarning | None]:
    """The picture's profile, or why that which it has cannot be used."""
    data = image.info.get("icc_profile")
    if not data or image.mode == "LAB":  # Lab samples mean the same everywhere
        return None, None
    try:
        mode = _mode_of(bytes(data))
        if mode is None:
            return None, _ignored("its colour space is not RGB, grey or CMYK")
        if not _fits(mode, image.mode):
            return None, _ignored(f"it is of {mode} samples, and the picture of {image.mode}")
        _transform(bytes(data), mode)
    # A damaged profile: OSError where it cannot be opened, PyCMSError where no way leads to sRGB.
    except (OSError, ValueError, TypeError, ImageCms.PyCMSError) as error:
        return None, _ignored(str(error) or type(error).__name__)
    return Profile(bytes(data), mode), None


def _ignored(reason: str) -> RowWarning:
    return RowWarning(
        WarningCode.PROFILE_IGNORED, f"the ICC profile of the picture was not used: {reason}"
    )


def _fits(profile_mode: str, image_mode: str) -> bool:
    if "CMYK" in (profile_mode, image_mode):
        return profile_mode == image_mode
    is_grey = image_mode in _GREY_MODES or image_mode.startswith("I;16")
    return profile_mode == "RGB" or is_grey


def _mode_of(data: bytes) -> str | None:
    return _MODES.get(ImageCms.ImageCmsProfile(io.BytesIO(data)).profile.xcolor_space)


@functools.lru_cache(maxsize=_CACHED_TRANSFORMS)
def _transform(data: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    """Perceptual intent, as pictures are shown."""
    profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    assert isinstance(transform, ImageCms.ImageCmsTransform)
    return transform
