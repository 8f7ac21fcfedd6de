"""Keywords of the column functions, checked on the driver: value, rule and choices in the error."""

from __future__ import annotations

import dataclasses
import importlib.util
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyspark_vision.errors import InvalidOptionError, MissingDependencyError
from pyspark_vision.executor.decode import grey, images
from pyspark_vision.executor.decode.formats import ALIASES, ALLOWED_FORMATS, PLUGINS
from pyspark_vision.executor.decode.grey import GreyRange
from pyspark_vision.executor.decode.images import DEFAULT_MAX_BYTES, DecodeOptions
from pyspark_vision.executor.fetch.fetched import FetchOptions, GcsOptions
from pyspark_vision.executor.fetch.object_store import SCHEMES, canonical
from pyspark_vision.spark.hadoop_settings import hadoop_setting

DECODE_KEYS = tuple(field.name for field in dataclasses.fields(DecodeOptions))

# Objects under way at a time in one worker: a store answers a GET in 20 to 100 ms, and a core
# decodes and infers about 100 pictures in a second.
DEFAULT_FETCH_CONCURRENCY = 16
DEFAULT_FETCH_ATTEMPTS = 5
DEFAULT_FETCH_TIMEOUT_S = 30.0


def decode_options(function: str, keywords: Mapping[str, Any]) -> DecodeOptions:
    """The decoding keywords of ``function`` as :class:`DecodeOptions`."""
    unknown = sorted(set(keywords) - set(DECODE_KEYS))
    if unknown:
        raise InvalidOptionError(
            f"{function}: no option {', '.join(unknown)}; decoding takes {', '.join(DECODE_KEYS)}"
        )
    known = dict(keywords)
    if "formats" in known:
        known["formats"] = _formats(function, known["formats"])
    if "grey_range" in known:
        known["grey_range"] = _grey_range(function, known["grey_range"])
    options = DecodeOptions(**known)
    at_least_one("max_bytes", options.max_bytes)
    at_least_one("max_pixels", options.max_pixels)
    at_least_one("max_frames", options.max_frames)
    _one_of(function, "decode", options.decode, (images.STRICT, images.LENIENT))
    _one_of(function, "icc", options.icc, (images.IGNORE, images.SRGB))
    if options.frames not in (images.FIRST, images.ALL):
        is_step = isinstance(options.frames, int) and not isinstance(options.frames, bool)
        if not is_step or int(options.frames) < 1:
            raise InvalidOptionError(
                f"{function}: frames={options.frames!r}; it is 'first', 'all', or n (a whole "
                "number of at least 1) for every nth"
            )
    return options


def _formats(function: str, given: Any) -> tuple[str, ...]:
    formats: tuple[str, ...] = ()
    if isinstance(given, Iterable) and not isinstance(given, str):
        names = (str(item).upper() for item in given)
        formats = tuple(dict.fromkeys(ALIASES.get(name, name) for name in names))
    if not formats or set(formats) - set(ALLOWED_FORMATS):
        raise InvalidOptionError(
            f"{function}: formats={given!r}; it is a list of {', '.join(ALLOWED_FORMATS)}"
        )
    for name in formats:
        package, extra = PLUGINS.get(name, (None, None))
        if package is not None and importlib.util.find_spec(package) is None:
            raise MissingDependencyError(
                f"{function}: formats has {name}, which needs the extra {extra}, here and on "
                f"executors: pip install 'pyspark_vision[{extra}]'"
            )
    return formats


def _grey_range(function: str, given: Any) -> GreyRange:
    """The caller's way to say it -> :data:`executor.decode.grey.GreyRange`."""
    if given in (grey.FULL, grey.MINMAX):
        return (given,)
    if given == grey.PERCENTILES:
        return (grey.PERCENTILES, *grey.DEFAULT_PERCENTILES)
    values = list(given) if isinstance(given, (tuple, list)) else []
    kind = "values"
    if values and values[0] == grey.PERCENTILES:
        kind = grey.PERCENTILES
        values = values[1:]
    is_pair = len(values) == 2 and all(
        isinstance(bound, (int, float)) and not isinstance(bound, bool) and math.isfinite(bound)
        for bound in values
    )
    low, high = values if is_pair else (0, 0)
    if low < high and (kind == "values" or (low >= 0 and high <= 100)):
        return (kind, float(low), float(high))
    raise InvalidOptionError(
        f"{function}: grey_range={given!r}; it is 'full', 'minmax', 'percentiles' (1 and 99), "
        "('percentiles', low, high) within 0..100, or (low, high), of which low is the smaller"
    )


def _one_of(function: str, name: str, value: Any, choices: Sequence[str]) -> None:
    if value not in choices:
        raise InvalidOptionError(f"{function}: {name}={value!r}; it is one of {', '.join(choices)}")


def fetch_options(
    session: Any,
    prefixes: Sequence[str] = (),
    max_bytes: int = DEFAULT_MAX_BYTES,
    concurrency: int = DEFAULT_FETCH_CONCURRENCY,
    max_attempts: int = DEFAULT_FETCH_ATTEMPTS,
    timeout_s: float = DEFAULT_FETCH_TIMEOUT_S,
) -> FetchOptions:
    """The keywords of ``fetch_object``, with the address of the store from Spark's settings."""
    at_least_one("max_bytes", max_bytes)
    at_least_one("concurrency", concurrency)
    at_least_one("max_attempts", max_attempts)
    if not isinstance(timeout_s, (int, float)) or timeout_s <= 0:
        raise InvalidOptionError(f"timeout_s={timeout_s!r} must be a number above 0")
    folders = []
    for prefix in [prefixes] if isinstance(prefixes, str) else prefixes:
        if prefix.split(":", 1)[0] not in SCHEMES:
            raise InvalidOptionError(
                f"prefixes: {prefix!r} must begin with one of "
                f"{', '.join(scheme + ':' for scheme in SCHEMES)}"
            )
        # Without its end, s3://images would also stand for s3://images-of-others.
        folders.append(canonical(prefix.rstrip("/") + "/"))
    endpoint_url = hadoop_setting(session, "fs.s3a.endpoint")
    if endpoint_url and "://" not in endpoint_url:
        tls = hadoop_setting(session, "fs.s3a.connection.ssl.enabled") != "false"
        endpoint_url = f"{'https' if tls else 'http'}://{endpoint_url}"
    return FetchOptions(
        endpoint_url=endpoint_url or None,
        region=hadoop_setting(session, "fs.s3a.endpoint.region") or None,
        path_style=hadoop_setting(session, "fs.s3a.path.style.access") == "true",
        prefixes=tuple(folders),
        max_bytes=max_bytes,
        concurrency=concurrency,
        max_attempts=max_attempts,
        timeout_s=float(timeout_s),
        gcs=_gcs_options(session),
    )


def _gcs_options(session: Any) -> GcsOptions:
    """What Hadoop's gs:// is told, for fetches too (the names of gcs-connector 4)."""
    mode = (hadoop_setting(session, "fs.gs.requester.pays.mode") or "DISABLED").upper()
    project = hadoop_setting(session, "fs.gs.requester.pays.project.id")
    if mode != "DISABLED" and not project:
        raise InvalidOptionError(
            f"fs.gs.requester.pays.mode={mode} needs the project that pays: set "
            "fs.gs.requester.pays.project.id"
        )
    buckets = hadoop_setting(session, "fs.gs.requester.pays.buckets") or ""
    return GcsOptions(
        endpoint_url=hadoop_setting(session, "fs.gs.storage.root.url") or None,
        anonymous=hadoop_setting(session, "fs.gs.auth.type") == "UNAUTHENTICATED",
        user_project=None if mode == "DISABLED" else project,
        paid_buckets=frozenset(re.findall(r"[^,\s]+", buckets)) if mode == "CUSTOM" else None,
    )


def texts(name: str, value: Any) -> tuple[str, ...]:
    """``value`` as a tuple; :class:`InvalidOptionError` unless it is a list of different texts."""
    if isinstance(value, str) or not isinstance(value, Sequence) or not value:
        raise InvalidOptionError(f"{name}={value!r} must be a list of one text or more")
    for text in value:
        if not isinstance(text, str) or not text.strip():
            raise InvalidOptionError(f"{name}: {text!r} is not a text")
    if len(set(value)) < len(value):
        twice = next(text for text in value if list(value).count(text) > 1)
        raise InvalidOptionError(f"{name}: {twice!r} is there twice")
    return tuple(value)


def at_least_one(name: str, value: Any) -> None:
    """Raise :class:`InvalidOptionError` unless ``value`` is a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidOptionError(f"{name}={value!r} must be a whole number of at least 1")


def within_unit(name: str, value: Any) -> None:
    """Raise :class:`InvalidOptionError` unless ``value`` is a number within 0..1."""
    if not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise InvalidOptionError(f"{name}={value!r} must be a number within 0..1")
