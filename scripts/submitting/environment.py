"""The executors' Python as an archive: ``--archives FILE#environment``.

A virtual environment's ``bin/python`` is a link to the Python it was made of, and finds its
packages beside itself, wherever it is unpacked; so a plain tar of one is enough. What the nodes
need is that same Python at the same place (``readlink -f .venv/bin/python``). PySpark is not in it:
executors take that from their Spark, so that both always match; nor is this package, which travels
as the zip.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from pyspark_vision.clients.local_services import jars
from pyspark_vision.clients.submitting.errors import SubmitError

ROOT = Path(__file__).resolve().parents[2]
CONSTRAINTS = ROOT / "conf" / "constraints.txt"
# LiteRT runs every bundle with a twin; boto3 and obstore fetch objects; in cluster mode the
# driver, which serves metrics, runs in it, too. TensorFlow has 1.5 GB.
DEFAULT_EXTRAS = ("litert", "simd", "s3", "metrics")
# What of a requirement's marker is its extra; the rest says on which machines it is wanted.
_EXTRA = re.compile(r'(\s+and\s+)?extra == "[^"]*"')

# pyarrow's libraries hardly get smaller; level 1 takes 6 s where the default takes 26 s.
_COMPRESSION = 1


def packed(extras: Sequence[str] = DEFAULT_EXTRAS) -> Path:
    """The archive with these extras of the package, made now if this machine has none yet."""
    wanted = requirements(extras)
    archive = jars.cache_folder() / "environments" / f"{_key(wanted)}.tar.gz"
    if not archive.is_file():
        _pack(wanted, archive)
    return archive


def requirements(extras: Sequence[str]) -> list[str]:
    """What the package and these extras of it require, as setup.py says."""
    try:
        lines = metadata.requires("pyspark_vision") or []
        known = metadata.metadata("pyspark_vision").get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        raise SubmitError(
            f"{sys.executable} lacks pyspark_vision: enter the environment first, with "
            "`. .venv/bin/activate`"
        ) from None
    if unknown := sorted(set(extras) - set(known)):
        raise SubmitError(f"no extra {', '.join(unknown)}; choose from {', '.join(sorted(known))}")
    names = []
    for line in lines:
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        if not marker or any(f'extra == "{extra}"' in marker for extra in extras):
            where = _EXTRA.sub("", marker).strip()
            names.append(f"{requirement}; {where}" if where else requirement)
    return names


def _key(wanted: Sequence[str]) -> str:
    """Another archive for other packages, other versions of them, or another Python."""
    said = [*wanted, CONSTRAINTS.read_text(encoding="utf-8"), sys.version, sys.base_prefix]
    return hashlib.sha256("\n".join(said).encode()).hexdigest()[:16]


def _pack(wanted: Sequence[str], archive: Path) -> None:
    """Install beside and rename: an archive that is there is complete."""
    print(f"== environment: packing {', '.join(wanted)} (about half a minute)", file=sys.stderr)
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".packing-", dir=archive.parent) as work:
        environment = Path(work, "environment")
        _run([sys.executable, "-m", "venv", "--without-pip", str(environment)])
        install = [*("-m", "pip", "--python", str(environment / "bin" / "python"), "install")]
        quietly = ("--quiet", "--disable-pip-version-check", "--no-compile")
        _run([sys.executable, *install, *quietly, "--constraint", str(CONSTRAINTS), *wanted])
        unfinished = Path(work, archive.name)
        with tarfile.open(unfinished, "w:gz", compresslevel=_COMPRESSION) as tar:
            for entry in sorted(environment.iterdir()):
                tar.add(entry, entry.name)
        os.rename(unfinished, archive)
    size_mb = archive.stat().st_size / 1e6
    print(f"== environment: {size_mb:.0f} MB, {archive}", file=sys.stderr)


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=1800, check=False, env=_own_settings()
    )
    if done.returncode != 0:
        raise SubmitError(f"cannot make the environment: {(done.stderr or done.stdout)[-2000:]}")


def _own_settings() -> dict[str, str]:
    """What the user has set for pip and Python elsewhere would install into other folders."""
    elsewhere = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_REQUIRE_VIRTUALENV")
    others = (*elsewhere, "PYTHONHOME", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in others}
    return {**kept, "PIP_USER": "0"}  # beats `user = true` in a pip.conf
