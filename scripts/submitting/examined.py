"""The line of a job as doctor's: ``scripts/submit … doctor jobs/stream_detect.py -- ITS FLAGS``."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from pyspark_vision.cli import doctor
from pyspark_vision.clients.submitting.errors import SubmitError
from pyspark_vision.job.arguments import Parser

from .flags import JobFlags

# What a job calls otherwise than doctor.
_OTHERWISE = {
    "--images": "--input",
    "--model-gcs-path": "--model",
    "--output-gcs-path": "--output",
}


def doctor_flags(job: Path, flags: JobFlags) -> JobFlags:
    """The job's flags that doctor has, too, by its names; it does not look at the others.

    What is no flag of the job stays: doctor says what is wrong with it. What a ``--config`` file
    says is said by flags. Raises :class:`SubmitError` if ``job`` is none of this package's.
    """
    doctors = Parser()
    doctor.add_arguments(doctors)
    examined = {flag: action for action in doctors.arguments() for flag in action.option_strings}
    names = {
        flag: next((name for name in spellings if name in examined), None)
        for action in _parser_of(job).arguments()
        for flag in action.option_strings
        for spellings in [(*action.option_strings, _OTHERWISE.get(flag, ""))]
    }
    kept, keeps = [], True
    for word in flags.argv:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            name = names.get(flag, flag)
            keeps, word = name is not None, f"{name}{equals}{value}"
        if keeps:
            kept.append(word)
    given = {word.partition("=")[0] for word in kept}
    for flag, value in flags.from_file.items():
        name = names.get(flag)
        if name is not None and name not in given:
            kept += [name, *(value.split() if examined[name].nargs == "+" else [value])]
    return JobFlags(tuple(kept))


def _parser_of(job: Path) -> Parser:
    """The job's own parser; the job is imported for it, and not run."""
    spec = importlib.util.spec_from_file_location(job.stem, job)
    if spec is None or spec.loader is None or not job.is_file():
        raise SubmitError(f"there is no job {job}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise SubmitError(
            f"{job} cannot be imported here ({error}): leave it out, and give doctor its own flags"
        ) from None
    parser = module.parser() if hasattr(module, "parser") else None
    if not isinstance(parser, Parser):
        raise SubmitError(f"{job} is none of this package's jobs: give doctor its own flags")
    return parser
