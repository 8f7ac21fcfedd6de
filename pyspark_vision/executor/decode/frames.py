"""The pictures of one file: frames of an animation, pages of a TIFF."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

from pyspark_vision.executor.decode.formats import kind_of
from pyspark_vision.executor.decode.images import (
    FIRST,
    DecodeOptions,
    Picture,
    loaded,
    open_image,
    read_picture,
    within_limits,
)
from pyspark_vision.executor.row_errors import ErrorCode, RowError, RowWarning, WarningCode

# Formats whose files may have several pictures that belong together. (The other ones of an MPO or
# of a HEIF are a second eye's, previews or maps of brightness.)
_SEVERAL = ("GIF", "PNG", "WEBP", "AVIF", "TIFF")


def pictures(
    data: bytes | None, options: DecodeOptions, target_hw: tuple[int, int] | None = None
) -> Iterator[Picture | RowError]:
    """The pictures of a file that ``options.frames`` asks for, one at a time, or why one is none.

    A file that is no animation and no TIFF has one. After a bad frame of an animation there are no
    more, since they build on it; pages of a TIFF do not.
    """
    try:
        data = within_limits(data, options)
        if options.frames == FIRST or kind_of(data) not in _SEVERAL:
            yield read_picture(data, options, target_hw)
            return
        image = open_image(data, options)
        if not _is_animated(image):  # alone, it may be cut short
            yield read_picture(data, options, target_hw)
            return
    except RowError as error:
        yield error
        return
    yield from _frames(image, options)


def _frames(image: Image.Image, options: DecodeOptions) -> Iterator[Picture | RowError]:
    step = options.frames if isinstance(options.frames, int) else 1
    # A PNG may have a picture for those who cannot play it, which is none of the animation.
    index = 1 if getattr(image, "default_image", False) else 0
    for count in range(1, options.max_frames + 1):
        try:
            if not _seek(image, index):
                if count == 1:
                    yield RowError(ErrorCode.UNDECODABLE, f"{image.format}: it has no frame")
                return
            picture = loaded(image, options, None)
        except RowError as error:
            yield RowError(error.code, f"frame {index}: {error.message}")
            if image.format != "TIFF":
                return
        else:
            # The next frame is drawn over this one.
            own = picture.image.copy() if picture.image is image else picture.image
            warnings = picture.warnings
            if count == options.max_frames and _has(image, index + step):
                warnings = (*warnings, _capped(options.max_frames))
            yield Picture(own, picture.size_wh, warnings)
        index += step


def _is_animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # Pillow looks for a second frame, which is bad
        return True


def _seek(image: Image.Image, index: int) -> bool:
    """Whether there is such a frame, which then is the image's."""
    try:
        image.seek(index)
        return True
    except EOFError:
        return False
    # As of a decoder: anything may come out of a hostile file.
    except Exception as error:
        raise RowError(
            ErrorCode.UNDECODABLE, f"{image.format}: {error or type(error).__name__}"
        ) from None


def _has(image: Image.Image, index: int) -> bool:
    try:
        return _seek(image, index)
    except RowError:  # there is one, which is bad
        return True


def _capped(max_frames: int) -> RowWarning:
    return RowWarning(
        WarningCode.FRAMES_CAPPED,
        f"there are more frames than max_frames={max_frames}: those after this one were not read",
    )
