"""Pictures that end or hang the process that decodes them, and the decoder that lets them."""

from __future__ import annotations

from pathlib import Path

# Behind a JPEG's end: decoders do not look there, the sitecustomize.py below does.
KILL, CRASH, HANG = b"<kill>", b"<crash>", b"<hang>"

_SITECUSTOMIZE = """
import os, signal, time
import PIL.Image

_open = PIL.Image.open

def _poisoned(file, *args, **options):
    content = file.getvalue() if hasattr(file, "getvalue") else b""
    if content.endswith(b"<kill>"):
        os.kill(os.getpid(), signal.SIGKILL)
    if content.endswith(b"<crash>"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if content.endswith(b"<hang>"):
        time.sleep(3600)
    return _open(file, *args, **options)

PIL.Image.open = _poisoned
"""


def poisoned_decoder(folder: Path) -> dict[str, str]:
    """Environment in which every Python's decoder is ended or hung by such pictures."""
    folder.joinpath("sitecustomize.py").write_text(_SITECUSTOMIZE)
    return {"PYTHONPATH": str(folder)}
