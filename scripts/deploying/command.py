"""The flags of scripts/deploy_dataproc, and what they start."""

from __future__ import annotations

import argparse
import dataclasses
import io
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from submitting import environment

from pyspark_vision.clients import stopping
from pyspark_vision.clients.submitting.errors import SubmitError

from .plan import NAMES, DeployError, Plan
from .services import Services, refuse_missing_packages

ROOT = Path(__file__).resolve().parents[2]
# TensorFlow has the models that week 9's --model-type names, LiteRT runs bundles' twins;
# confluent-kafka makes the topics.
_EXTRAS = ("tensorflow", "litert", "simd", "gcp", "metrics")
_MORE_PACKAGES = ("confluent-kafka",)


def parser() -> argparse.ArgumentParser:
    command = argparse.ArgumentParser(
        prog="scripts/deploy_dataproc",
        description="Make week 9's pipeline on Google Cloud, or remove it. Flags of "
        "jobs/stream_classify.py come after `--`, and win over those that it is given. "
        "docs/dataproc.md has more.",
        allow_abbrev=False,
    )
    command.add_argument("--project-id", required=True, metavar="ID", help="the project")
    command.add_argument("--region", default=Plan.region, help="the region (%(default)s)")
    command.add_argument(
        "--name",
        default=Plan.name,
        help="the deployment's; a label of all that it makes (%(default)s)",
    )
    for name in NAMES:
        value = getattr(Plan, name)
        shown = value or "PROJECT-week9-streaming-data"
        command.add_argument(f"--{name}", default=value, help=f"its name ({shown})")
    command.add_argument(
        "--workers", type=int, default=Plan.workers, metavar="N", help="machines (%(default)s)"
    )
    command.add_argument(
        "--image-version",
        default=Plan.image_version,
        help="of Dataproc; Pub/Sub needs one with Spark 4 (%(default)s)",
    )
    command.add_argument("--cleanup", action="store_true", help="remove what it made, not data")
    command.add_argument(
        "--delete-data",
        action="store_true",
        help="with --cleanup: pictures, results, checkpoints and rows as well",
    )
    command.add_argument("--dry-run", action="store_true", help="print each call, make none")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command.add_argument("job_flags", nargs="*", metavar="-- JOB FLAGS")
    return command


def main(argv: Sequence[str] | None = None, services: Services | None = None) -> int:
    """0: done. 1: the user said no. 2: a mistake, a name that is taken, a service refuses."""
    command = parser()
    words = list(sys.argv[1:] if argv is None else argv)
    cut = words.index("--") if "--" in words else len(words)
    options = command.parse_args(words[:cut])
    if options.job_flags:
        command.error(f"{options.job_flags[0]}: flags of the job come after --")
    try:
        with stopping.listening(stopping.interrupt, stopping.die):
            if options.delete_data and not options.cleanup:
                raise DeployError("--delete-data is for --cleanup")
            refuse_missing_packages()
            plan = planned(options, tuple(words[cut + 1 :]))
            return _run(plan, options, services or Services(plan.project_id, plan.region))
    except (DeployError, SubmitError) as error:
        print(f"deploy_dataproc: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head`, `| less`: nobody reads on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("deploy_dataproc: stopped; run it again to go on, or --cleanup", file=sys.stderr)
        return 130


def planned(options: argparse.Namespace, job_flags: tuple[str, ...]) -> Plan:
    """The plan, with programs and packages unless it is only to be removed."""
    names = ("region", "name", *NAMES, "workers", "image_version")
    values = {name: getattr(options, name) for name in names}
    if options.cleanup:
        return Plan(options.project_id, **values)
    plan = Plan(options.project_id, **values, job_flags=job_flags)
    if plan.image_version.startswith("2") and plan.input_source != "kafka":
        raise DeployError(
            f"--image-version {plan.image_version} has Spark 3.5, and the job reads Pub/Sub, "
            "which needs Spark 4: choose 3.0-debian13, or add -- --input-source kafka"
        )
    if job_flags:
        refuse_wrong_flags(plan.stream_flags)
    return dataclasses.replace(plan, pip_packages=pinned_packages(), files=programs())


def refuse_wrong_flags(flags: Sequence[str]) -> None:
    """Raise :class:`DeployError` for flags that the job refuses.

    On a cluster it would say so in its log, minutes after the first machine is paid for.
    """
    program = (
        "import sys\nsys.path[:0] = sys.argv[1:3]\n"
        "import stream_classify as job\njob.parser().parse_job(sys.argv[3:], job.check)"
    )
    places = (str(ROOT), str(ROOT / "jobs"))
    check = [sys.executable, "-c", program, *places, *flags]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    if done.returncode == 2:  # a mistake; another code is of a job that cannot be run here
        raise DeployError(f"flags after --: {done.stderr.strip().splitlines()[-1]}")


def programs() -> tuple[Path, ...]:
    """The job, the package built now, and the maker of topics."""
    package = ROOT / "dist" / "pyspark_vision.zip"
    build = [sys.executable, str(ROOT / "scripts" / "build_zip.py"), str(package)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DeployError(" ".join(done.stderr.split()))
    here = Path(__file__).resolve().parent
    return (ROOT / "jobs" / "stream_classify.py", package, here / "make_kafka_topics.py")


def pinned_packages() -> tuple[str, ...]:
    """What the nodes' Python needs, as conf/constraints.txt pins it: ``name==version``.

    Dataproc installs them on each node (`dataproc:pip.packages`). A packed environment would need
    this machine's Python at the same place on the nodes (docs/clusters.md), which they have not.
    """
    lines = environment.CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    pins = {_package(line): line.strip() for line in lines if re.match(r"[\w.-]+==", line)}
    wanted = [*environment.requirements(_EXTRAS), *_MORE_PACKAGES]
    names = {_package(requirement) for requirement in wanted}
    if unpinned := sorted(names - pins.keys()):
        raise DeployError(f"{environment.CONSTRAINTS} does not pin {', '.join(unpinned)}")
    return tuple(sorted(pins[name] for name in names))


def _package(requirement: str) -> str:
    """Its name as registries compare names: ``prometheus-client`` of ``prometheus_client>=0.2``."""
    [name] = re.findall(r"^[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name).lower()


def _run(plan: Plan, options: argparse.Namespace, services: Services) -> int:
    from . import deploy

    def say(line: str) -> None:
        print(line, flush=True)

    def agreed(question: str) -> bool:
        if options.yes:
            print(question, file=sys.stderr)
            return True
        answers = sys.stdin or io.StringIO()  # closed: `<&-`
        return deploy.ask(question, answers, answers.isatty())

    if options.cleanup or not options.dry_run:
        services.check()
    if options.cleanup:
        done = deploy.cleanup(
            plan, services, agreed, say, data=options.delete_data, dry_run=options.dry_run
        )
    elif options.dry_run:
        deploy.print_calls(plan, services, say)
        done = True
    else:
        done = deploy.deploy(plan, services, agreed, say)
    if not done:
        print("deploy_dataproc: nothing was changed", file=sys.stderr)
    return 0 if done else 1
