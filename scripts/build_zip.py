"""Build dist/pyspark_vision.zip for --py-files: pure Python, same sources, same bytes."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The earliest time a zip can hold; a real clock would change the bytes of each build.
EPOCH = (1980, 1, 1, 0, 0, 0)


def build(target: Path) -> None:
    """Zip every module of the package, sorted, with fixed times, modes and compression."""
    target.parent.mkdir(parents=True, exist_ok=True)
    modules = sorted(ROOT.joinpath("pyspark_vision").rglob("*.py"))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for module in modules:
            info = zipfile.ZipInfo(module.relative_to(ROOT).as_posix(), EPOCH)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, module.read_bytes())
    print(f"{target}: {len(modules)} modules, {target.stat().st_size} bytes")


if __name__ == "__main__":
    build(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "dist" / "pyspark_vision.zip"))
