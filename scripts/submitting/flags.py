"""A job's own flags, read only as far as submitting needs it: files they name, systems they use."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pyspark_vision.clients.submitting.errors import SubmitError


@dataclass(frozen=True)
class JobFlags:
    """``argv``: the flags as given. ``from_file``: what ``--config`` adds, by flag."""

    argv: tuple[str, ...]
    from_file: Mapping[str, str] = field(default_factory=dict)

    def value(self, flag: str) -> str | None:
        """The value in force: the last one given, else the file's."""
        flag_value = self.from_file.get(flag)
        for place, word in enumerate(self.argv):
            if word == flag:
                flag_value = self.argv[place + 1] if place + 1 < len(self.argv) else None
            elif word.startswith(f"{flag}="):
                flag_value = word.removeprefix(f"{flag}=")
        return flag_value

    def with_value(self, flag: str, value: str) -> JobFlags:
        """The same flags with another value for this one."""
        argv, given = list(self.argv), False
        for place, word in enumerate(self.argv):
            if word == flag and place + 1 < len(argv):
                argv[place + 1], given = value, True
            elif word.startswith(f"{flag}="):
                argv[place], given = f"{flag}={value}", True
        return replace(self, argv=tuple(argv if given else [*argv, flag, value]))

    def words(self) -> list[str]:
        """All that was said, flags and values, on the command line and in the file."""
        return [*self.argv, *self.from_file, *self.from_file.values()]


def read_flags(argv: Sequence[str]) -> JobFlags:
    """The flags with the values of their ``--config`` file, if that can be read here."""
    flags = JobFlags(tuple(argv))
    config = flags.value("--config")
    if config is None or not Path(config).is_file():
        return flags  # the job says what is wrong with it; inside an image it may be there
    try:
        values = tomllib.loads(Path(config).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SubmitError(f"--config {config} is not TOML: {error}") from None
    from_file = {}
    for key, value in values.items():
        for name, setting in (value if isinstance(value, dict) else {key: value}).items():
            words = setting if isinstance(setting, list) else [setting]
            from_file["--" + name.replace("_", "-")] = " ".join(map(str, words))
    return replace(flags, from_file=from_file)


def without_conf(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """(The flags of a command without its ``--conf``, their values).

    They are for spark-submit: the command itself runs when the JVM has started.
    """
    rest, pairs, words = [], [], iter(argv)
    for word in words:
        if word == "--conf" and (pair := next(words, None)) is not None:
            pairs.append(pair)
        elif word.startswith("--conf="):
            pairs.append(word.removeprefix("--conf="))
        else:
            rest.append(word)
    return rest, pairs


def connectors(job: Path, flags: JobFlags) -> list[str]:
    """The configurations of ``conf/ivy.xml`` that these flags need, as ``kafka``."""
    words = flags.words()
    # Jobs that can read Kafka do so unless --input names a folder.
    by_default = (
        job.is_file()
        and "sources.kafka" in job.read_text(encoding="utf-8")
        and flags.value("--input") is None
    )
    # `replay` sends letters to topics, wherever they lie.
    sends = flags.argv[:1] == ("replay",)
    needed = []
    if by_default or sends or any("kafka" in word for word in words):
        needed.append("kafka")
    if any("s3a://" in word for word in words):
        needed.append("s3a")
    if any("gs://" in word for word in words):
        needed.append("gs")
    if flags.value("--table") is not None:
        needed.append("iceberg" if "iceberg" in words else "delta")
    return needed
