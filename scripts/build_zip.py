"""Build dist/pyspark_vision.zip for --py-files: pure Python, same sources, same bytes."""

from __future__ import annotations

import io
import os
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The earliest time a zip can hold; a real clock would change the bytes of each build.
EPOCH = (1980, 1, 1, 0, 0, 0)


def build(target: Path) -> None:
    """Zip the modules that jobs import, sorted, with fixed times, modes and compression.

    Templates of pages lie beside their modules. `clients` is for people beside Spark, and left out.

    A running job may be reading ``target``: it is left alone if it has these bytes, and else
    replaced at once.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    package = ROOT.joinpath("pyspark_vision")
    files = {file for kind in ("*.py", "*.html", "*.css") for file in package.rglob(kind)}
    modules = sorted(files - set(package.joinpath("clients").rglob("*")))
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for module in modules:
            member = zipfile.ZipInfo(module.relative_to(ROOT).as_posix(), EPOCH)
            member.external_attr = 0o644 << 16
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, module.read_bytes())
    if not target.is_file() or target.read_bytes() != written.getvalue():
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        beside.write_bytes(written.getvalue())
        os.replace(beside, target)
    print(f"{target}: {len(modules)} files, {target.stat().st_size} bytes")


if __name__ == "__main__":
    wanted = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist" / "pyspark_vision.zip")
    try:
        build(wanted)
    except OSError as error:
        sys.exit(
            f"build_zip: {error.filename or wanted} cannot be written ({error.strerror}): give the "
            "path of another zip as argument"
        )
