"""Formats of pictures: which are read, how a file's first bytes tell one, what reads it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

DEFAULT_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP")
ALLOWED_FORMATS = (*DEFAULT_FORMATS, "TIFF", "AVIF", "HEIF", "JPEG2000", "JXL")

# Other names that people have for them.
ALIASES = {"HEIC": "HEIF", "JPG": "JPEG", "JP2": "JPEG2000", "JPEGXL": "JXL"}

# What Pillow reads with a package of an extra: format -> (package, extra).
PLUGINS = {"HEIF": ("pillow_heif", "heif"), "JXL": ("pillow_jxl", "jxl")}

# First bytes of formats, to tell "damaged" from "another kind of file". Only what is certain.
_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JXL"),
    (b"\xff\x0a", "JXL"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\xd0\xcf\x11\xe0", "OLE"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"P5", "PPM"),
    (b"P6", "PPM"),
)
_FTYP_BRANDS = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"), "HEIF"),
}

_plugged_in: set[str] = set()


def kind_of(data: bytes) -> str | None:
    """The format that the first bytes say, of more formats than are read; ``None``: none known.

    >>> kind_of(b"GIF89a\\x01")
    'GIF'
    """
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        return _FTYP_BRANDS.get(data[8:12], "ISO media")
    return next((kind for magic, kind in _MAGIC if data.startswith(magic)), None)


def plug_in(formats: Sequence[str]) -> None:
    """Make Pillow read these formats, too; ``ImportError`` where a package is missing."""
    for name in formats:
        if name in PLUGINS and name not in _plugged_in:
            _PLUG_IN[name]()
            _plugged_in.add(name)


def _plug_in_heif() -> None:
    import pillow_heif

    # A picture is one task's, of one core; thumbnails would be taken for a reduced decode.
    pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False)


def _plug_in_jxl() -> None:
    from pillow_jxl import JpegXLImagePlugin

    JpegXLImagePlugin.DECODE_THREADS = 0


_PLUG_IN: dict[str, Callable[[], None]] = {"HEIF": _plug_in_heif, "JXL": _plug_in_jxl}
