"""``pyspark-vision bundle inspect MODEL``, ``build MODEL --output DIR``, ``verify BUNDLE``.

``inspect`` reads a model and shows the spec it proposes, with ``--images`` as a page of pictures.
``build`` makes a bundle of it: with the LiteRT twin of a TensorFlow model, once both have agreed on
sample images. ``verify`` compares a bundle with its reference, and keeps the proof in it.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyspark_vision.bundles.agreement import DEFAULT_TOLERANCE, MIN_BOX_IOU, Agreement, compare
from pyspark_vision.bundles.inspection import propose_model
from pyspark_vision.bundles.model_source import read_model
from pyspark_vision.bundles.proposal.anchor_file import read_anchors
from pyspark_vision.bundles.readers.keras_applications import (
    APPLICATIONS,
    application,
    build_application,
    imagenet_labels,
)
from pyspark_vision.bundles.registry import is_registered, registered_name
from pyspark_vision.bundles.spec import AnchorLayer, ModelSpec
from pyspark_vision.bundles.spec_choices import PRECISIONS, TASKS
from pyspark_vision.bundles.storage import MODEL_JSON, local_copy
from pyspark_vision.bundles.twin import with_int8_twin, with_twin
from pyspark_vision.bundles.verification import verify
from pyspark_vision.contact_sheet.model_sheet import SCORE_THRESHOLD, build_model_sheet
from pyspark_vision.contact_sheet.sheet import WORDS, SheetCounts
from pyspark_vision.errors import InvalidModelError, InvalidOptionError, PysparkVisionError
from pyspark_vision.job.arguments import with_flags

if TYPE_CHECKING:
    from pyspark_vision.bundles.proposal.guesses import Guess, Proposal
    from pyspark_vision.bundles.readers.contents import ModelFound

# Sample images that are drawn where the user gives none: enough for several of each object.
_DRAWN_IMAGES = 16

# More pictures than this add minutes and no knowledge.
_MAX_IMAGES = 200

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp")

# Fields that the table shows, by the task that they matter for (None: all).
_FIELDS: tuple[tuple[str, tuple[str, ...] | None], ...] = (
    ("name", None),
    ("task", None),
    ("input_hw", None),
    ("input_layout", None),
    ("input_dtype", None),
    ("fixed_batch", None),
    ("color_order", None),
    ("normalization", None),
    ("resize", None),
    ("score_kind", ("classify", "detect", "segment", "keypoints")),
    ("background_class", ("classify", "segment")),
    ("box_format", ("detect", "segment", "keypoints")),
    ("coordinates", ("detect", "segment", "keypoints")),
    ("keypoint_format", ("keypoints",)),
    ("label_offset", None),
)

# Shown as well where they are not at their defaults.
_PREPARATION = (
    *("pixel_scale", "mean", "std", "input_scale", "input_zero_point"),
    *("resize_filter", "resize_edge", "crop_rounding", "letterbox_anchor", "letterbox_rounding"),
    *("pad_value", "stride"),
    *("anchor_layers", "anchor_clip", "anchor_variances", "anchor_sides"),
    *("suppression", "iou_threshold", "keypoint_names"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the commands ``inspect``, ``build`` and ``verify`` with their options."""
    commands = parser.add_subparsers(dest="bundle_command", required=True, metavar="COMMAND")
    inspect = commands.add_parser(
        "inspect", help="read a model, and show the spec that is proposed"
    )
    build = commands.add_parser("build", help="make a bundle with a checked LiteRT twin")
    inspect.add_argument(
        "--images",
        metavar="DIR",
        help="draw the model's answers on these pictures, on a page to look at",
    )
    inspect.add_argument(
        "--sheet",
        metavar="FILE",
        help="the HTML file of --images (default: MODEL.html in the current folder)",
    )
    _add_verify(
        commands.add_parser("verify", help="prove that a bundle gives its reference's answers")
    )
    for command in (inspect, build):
        command.add_argument(
            "model",
            metavar="MODEL",
            help="a SavedModel folder, .keras, .h5, frozen .pb, .tflite, .task or .onnx file, a "
            "folder of Hugging Face's with model.onnx, of a text reader or a dual encoder, or the "
            "name of a keras.applications model (mobilenet_v2, resnet50, …)",
        )
        command.add_argument("--task", choices=TASKS, help="what the model does (default: a guess)")
        command.add_argument(
            "--labels", metavar="FILE", help="the label file: .txt, .json or .pbtxt"
        )
        command.add_argument(
            "--weights",
            metavar="FILE",
            help="the weights of a keras.applications model (default: they are downloaded)",
        )
        command.add_argument(
            "--set",
            dest="settings",
            metavar="FIELD=VALUE",
            action="append",
            default=[],
            help="set a field of the spec: normalization=tf, input_hw=224x224, "
            "outputs.scores=NAME, signature=NAME, layer=fc2, member=NAME, anchors=FILE. It may be "
            "repeated",
        )
    build.add_argument(
        "--output", metavar="DIR", required=True, help="the folder of the new bundle"
    )
    build.add_argument("--name", help="the model's name in results (default: the file's)")
    build.add_argument(
        "--images", metavar="DIR", help="compare on these pictures (default: drawn scenes)"
    )
    build.add_argument(
        "--tolerance",
        type=float,
        default=DEFAULT_TOLERANCE,
        metavar="SCORE",
        help="the largest difference of scores between original and twin (default: %(default)g)",
    )
    build.add_argument(
        "--accept",
        action="store_true",
        help="take what `bundle inspect` only proposes, too",
    )
    build.add_argument("--no-twin", action="store_true", help="make no LiteRT twin")
    build.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="the bundle's precision. bf16 runs on OpenVINO. int8 makes a twin that is calibrated "
        "on every other sample image. The command prints how far it agrees with the original",
    )


def _add_verify(verify: argparse.ArgumentParser) -> None:
    verify.add_argument(
        "model", metavar="BUNDLE", help="the folder of a bundle, which keeps the proof"
    )
    verify.add_argument(
        "--reference",
        metavar="FILE",
        required=True,
        help="a .npz of expected answers, or a Python script with a function reference(image)",
    )
    verify.add_argument(
        "--images",
        metavar="DIR",
        help="the pictures that are compared (default, for a script: drawn scenes)",
    )
    verify.add_argument(
        "--tolerance",
        type=float,
        default=DEFAULT_TOLERANCE,
        metavar="SCORE",
        help="the largest difference of scores that is allowed (default: %(default)g); boxes and "
        "masks must have an IoU of 0.99, points lie within a hundredth of their pose",
    )
    verify.add_argument(
        "--score-threshold",
        type=float,
        metavar="SCORE",
        help="the score threshold of the reference (default: the score of the weakest that it has "
        "found; of text lines 0.5)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the parsed command; 0, or 2 with one line on stderr for a refused model or option."""
    try:
        with tempfile.TemporaryDirectory(prefix="pyspark_vision-build-") as work:
            if args.bundle_command == "inspect":
                _inspect(args, Path(work))
            elif args.bundle_command == "verify":
                _verify(args)
            else:
                _build(args, Path(work))
    except PysparkVisionError as error:
        said = with_flags(" ".join(str(error).split()), args)
        print(f"pyspark-vision bundle: {said}", file=sys.stderr)
        return 2
    except OSError as error:  # a full disk, a file that may not be read
        where = f"{error.filename}: " if error.filename else ""
        print(f"pyspark-vision bundle: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    return 0


def _inspect(args: argparse.Namespace, work: Path) -> None:
    if args.sheet is not None and args.images is None:
        raise InvalidOptionError("--sheet needs --images, the pictures to draw on")
    pictures = [] if args.images is None else _picture_files(args.images)
    path, proposal, settings = _proposed(args, work)
    file = proposal.spec.file
    contents = read_model(Path(proposal.spec.path), signature=file.signature, layer=file.layer)
    print("\n".join(_table(path, contents, proposal, settings)))
    if pictures:
        sheet = Path(args.sheet or f"{path.stem}.html")
        _progress(f"running {proposal.spec.runs_on}, on {len(pictures)} pictures")
        title = f"{path.name}: {proposal.verdict}"
        counts = build_model_sheet(proposal.spec, pictures, sheet, title=title)
        print(f"\nsheet       {sheet}: {counts.pictures} pictures, {_found(counts)}")


def _found(counts: SheetCounts) -> str:
    text = f"{counts.with_results} with {WORDS[counts.task][0]}"
    if counts.task == "detect":
        text += f" above {SCORE_THRESHOLD}"
    return f"{text}, {counts.failed} failed"


def _verify(args: argparse.Namespace) -> None:
    if not args.tolerance >= 0:
        raise InvalidOptionError(f"--tolerance {args.tolerance:g} is below 0")
    if args.score_threshold is not None and not 0 <= args.score_threshold <= 1:
        raise InvalidOptionError(f"--score-threshold {args.score_threshold:g} is not within 0..1")
    if not Path(args.model, MODEL_JSON).is_file():
        raise InvalidModelError(
            f"{args.model} is no bundle's folder (it has no {MODEL_JSON}); verify keeps its proof "
            "in one: `pyspark-vision bundle build` makes it"
        )
    if args.images is None and args.reference.endswith(".npz"):
        raise InvalidOptionError("--reference FILE.npz needs --images, the pictures that it names")
    pictures = (
        {f"drawn-{n}.png": content for n, content in enumerate(_drawn_images())}
        if args.images is None
        else _named_images(args.images)
    )
    spec = ModelSpec.load(args.model)
    _progress(f"comparing {spec.name} on {spec.runs_on} with {args.reference}")
    proof = verify(spec, args.reference, pictures, args.tolerance, args.score_threshold)
    dataclasses.replace(spec, proof=proof).save(args.model)
    print(proof)


def _build(args: argparse.Namespace, work: Path) -> None:
    if not args.tolerance > 0:
        raise InvalidOptionError(f"--tolerance {args.tolerance:g} is not above 0")
    output = Path(args.output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InvalidOptionError(f"--output {output} exists and is not an empty folder")
    images = _sample_images(args.images)
    path, proposal, _ = _proposed(args, work)
    spec = proposal.spec
    if proposal.open_fields and not args.accept:
        asked = "; ".join(
            f"{name}: {_how_to_say(name, proposal.guesses[name])}" for name in proposal.open_fields
        )
        raise InvalidModelError(
            f"{args.model} is only a proposal: {proposal.question()}. Say {asked}; or --accept, if "
            "what `bundle inspect` proposes is right"
        )
    has_twin = spec.file.engine == "tensorflow" and not args.no_twin
    if has_twin and spec.resize == "keep_aspect":
        _progress("no LiteRT twin: the model takes pictures in their own shape, LiteRT in one")
    elif has_twin:
        _progress(f"converting {path.name} to LiteRT")
        spec = with_twin(spec, work / "twin")
        _progress(f"running both engines on {len(images)} sample images")
        agreement = compare(spec, spec, images)
        print(_agreement_line(agreement, args.tolerance))
        agreement.check(args.tolerance, spec.name)
    if args.precision != PRECISIONS[0]:
        spec = _lowered(spec, args.precision, images, work / "lowered")
    spec.save(output)
    print(f"bundle: {output} ({', '.join(file.format for file in spec.files)})")


def _lowered(spec: ModelSpec, precision: str, images: Sequence[bytes], place: Path) -> ModelSpec:
    """``spec`` at a lower precision; prints what that changes, which the user has asked for."""
    compared = images
    if precision == "int8":
        if len(images) < 2:
            raise InvalidOptionError(
                f"--precision int8 needs at least 2 sample images, not {len(images)}: one half "
                "calibrates, the other compares; --images DIR"
            )
        _progress(f"converting {spec.name} to int8 with {len(images[::2])} sample images")
        lowered = with_int8_twin(spec, images[::2], place)
        compared = images[1::2]
    else:
        lowered = spec.with_options(precision=precision)
    _progress(f"running {lowered.runs_on}, on {len(compared)} sample images")
    print(f"agreement of {precision} with the original: {compare(spec, lowered, compared)}")
    return lowered


def _proposed(args: argparse.Namespace, work: Path) -> tuple[Path, Proposal, dict[str, Any]]:
    """The model's file, what is proposed, and what the user has set."""
    settings = _settings(args.settings)
    for option in ("task", "labels", "name"):
        if getattr(args, option, None) is not None:
            settings[option] = getattr(args, option)
    path = Path(args.model)
    if is_registered(args.model):
        path = local_copy(args.model)
        settings = {"name": registered_name(args.model), "source": args.model, **settings}
    app = None if path.exists() else application(args.model)
    if app is None:
        if args.weights is not None:
            raise InvalidOptionError(
                "--weights belongs to a keras.applications model "
                f"({', '.join(list(APPLICATIONS)[:4])}, …), not to {args.model}"
            )
        if not path.exists():
            raise InvalidModelError(
                f"{args.model} is neither a file or folder, nor one of keras.applications: "
                f"{', '.join(APPLICATIONS)}"
            )
    else:
        _progress(f"building keras.applications.{app.builder}")
        path = build_application(args.model, work, args.weights)
        known: dict[str, Any] = {
            "normalization": app.normalization,
            "color_order": app.color_order,
            "source": f"keras.applications.{app.builder}",
        }
        layer = settings.get("layer")
        if settings.setdefault("task", "embed" if layer else "classify") == "classify":
            settings["labels"] = imagenet_labels(work, settings.get("labels"))
        settings = {**known, **settings}
    _progress(f"reading {path}")
    return path, propose_model(path, **settings), settings


def _table(
    path: Path, contents: ModelFound, proposal: Proposal, settings: Mapping[str, Any]
) -> Iterator[str]:
    spec, guesses = proposal.spec, proposal.guesses
    yield f"model       {path} ({contents.format})"
    yield f"runs on     {spec.runs_on}"
    if contents.signature:
        yield f"signature   {contents.signature}"
    for kind, tensors in (("input", contents.inputs), ("output", contents.outputs)):
        for tensor in tensors:
            role = next((r for r, name in spec.file.outputs if name == tensor.name), None)
            used = f"  -> {role}" if role and kind == "output" else ""
            yield f"{kind:<11} {tensor.name} {list(tensor.shape)} {tensor.dtype}{used}"
    yield ""
    yield proposal.verdict
    for name, tasks in _FIELDS:
        if tasks is not None and spec.task not in tasks:
            continue
        why = "given" if name in settings else "unsure" if name in guesses else ""
        yield f"  {name:<17} {getattr(spec, name)!s:<14} {why}".rstrip()
    defaults = {field.name: field.default for field in dataclasses.fields(spec)}
    of_detectors = ("background_class",) if spec.task == "detect" else ()
    for name in (*of_detectors, *_PREPARATION):
        if (value := getattr(spec, name)) != defaults[name]:
            yield f"  {name:<17} {_text(value):<14} {'given' if name in settings else ''}".rstrip()
    if spec.anchors:
        yield f"  {'anchors':<17} {len(spec.anchors):,} numbers"
    if spec.labels:
        first = ", ".join(f"{class_id} {label}" for class_id, label in spec.labels[:3])
        yield f"  {'labels':<17} {len(spec.labels)} ({first}, …)"
    elif spec.task not in ("embed", "keypoints"):
        yield f"  {'labels':<17} none"
    if spec.keypoint_names:
        points = ", ".join(spec.keypoint_names[:3])
        yield f"  {'keypoint_names':<17} {len(spec.keypoint_names)} ({points}, …)"
    if guesses:
        yield ""
        yield "unsure"
        for name, guess in guesses.items():
            yield f"  {name}: {guess.why}; {_how_to_say(name, guess)}"


def _text(value: Any) -> str:
    """A field's value as ``--set`` takes it, where it takes it otherwise than Python writes it."""
    if isinstance(value, tuple) and value and isinstance(value[0], AnchorLayer):
        return ";".join(
            f"{layer.stride}:{_numbers(layer.sizes)}"
            + (f"/{_numbers(layer.ratios)}" if layer.ratios != (1.0,) else "")
            for layer in value
        )
    if isinstance(value, tuple) and value and isinstance(value[0], str):
        return ",".join(value)
    return str(value)


def _numbers(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _how_to_say(name: str, guess: Guess) -> str:
    """The flag that settles a guess."""
    flag = f"--{name} " if name in ("task", "labels") else f"--set {name}="
    return f"{flag}{guess.choices}"


def _settings(pairs: Sequence[str]) -> dict[str, Any]:
    """``["input_hw=224x224", "outputs.scores=NAME"]`` -> keyword arguments of ``inspect``."""
    settings: dict[str, Any] = {}
    fields = {field.name: str(field.type) for field in dataclasses.fields(ModelSpec)}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InvalidOptionError(f"--set {pair!r} is not FIELD=VALUE")
        if name.startswith("outputs."):
            settings.setdefault("outputs", {})[name.removeprefix("outputs.")] = text
        elif name in ("signature", "layer", "member"):
            settings[name] = text
        elif name in fields and name not in ("files", "root", "labels", "on_every_node"):
            settings[name] = _value(name, fields[name], text)
        else:
            raise InvalidOptionError(
                f"--set {name!r} is no field of a spec; the fields are {', '.join(fields)}, "
                "outputs.ROLE, signature, layer, member"
            )
    return settings


_WANTED = {
    "tuple[int, int]": "HEIGHTxWIDTH",
    "tuple[float, ...]": "numbers with commas between",
    "tuple[AnchorLayer, ...]": "STRIDE:SIZE,SIZE/RATIO,RATIO with ; between layers",
    "tuple[str, ...]": "names with commas between",
    "float": "a number",
    "bool": "true or false",
}
_BOOLEANS = {"true": True, "false": False}


def _value(name: str, annotation: str, text: str) -> Any:
    if text.lower() == "none" and "None" in annotation:
        return None
    if name == "anchors" and Path(text).is_file():
        return read_anchors(text)
    try:
        if annotation == "bool":
            return _BOOLEANS[text.lower()]
        if annotation == "tuple[AnchorLayer, ...]":
            return tuple(_layer(layer) for layer in text.split(";"))
        if annotation == "tuple[float, ...]":
            return tuple(float(number) for number in text.strip("()").split(","))
        if annotation == "tuple[str, ...]":
            return tuple(part.strip() for part in text.split(","))
        if annotation.startswith("float"):
            return float(text)
        if annotation.startswith("tuple"):
            height, width = text.lower().replace("x", ",").strip("()").split(",")
            return int(height), int(width)
        return int(text) if annotation.startswith("int") else text
    except (ValueError, KeyError):
        wanted = _WANTED.get(annotation.removesuffix(" | None"), "a whole number")
        raise InvalidOptionError(f"--set {name}={text!r} is not {wanted}") from None


def _layer(text: str) -> AnchorLayer:
    """``8:10,16/1,0.5`` -> a stride, its sizes and their ratios (of width to height)."""
    stride, _, boxes = text.partition(":")
    sizes, _, ratios = boxes.partition("/")
    numbers = [tuple(float(n) for n in part.split(",")) for part in (sizes, ratios or "1")]
    return AnchorLayer(int(stride), *numbers)


def _sample_images(folder: str | None) -> list[bytes]:
    """Encoded pictures of the folder, in the order of their names; drawn ones without a folder."""
    if folder is None:
        return list(_drawn_images())
    return [file.read_bytes() for file in _picture_files(folder)]


def _named_images(folder: str) -> dict[str, bytes]:
    """The same, by their paths in the folder."""
    top = Path(folder).absolute()
    return {file.relative_to(top).as_posix(): file.read_bytes() for file in _picture_files(folder)}


def _picture_files(folder: str) -> list[Path]:
    if not Path(folder).is_dir():
        raise InvalidOptionError(f"--images {folder} is not a folder")
    files = [
        file
        for file in sorted(Path(folder).rglob("*"))
        if file.is_file() and file.suffix.lower() in _IMAGE_SUFFIXES
    ]
    if not files:
        raise InvalidOptionError(
            f"--images {folder} holds no picture ({', '.join(_IMAGE_SUFFIXES)})"
        )
    return [file.absolute() for file in files[:_MAX_IMAGES]]


def _drawn_images() -> Iterator[bytes]:
    from pyspark_vision.clients.scenes import draw_scene

    for seed in range(_DRAWN_IMAGES):
        encoded = io.BytesIO()
        draw_scene(seed, (320, 240))[0].save(encoded, "PNG")
        yield encoded.getvalue()


def _agreement_line(agreement: Agreement, tolerance: float) -> str:
    boxes = "" if agreement.min_box_iou is None else f", box IoU >= {MIN_BOX_IOU}"
    return f"agreement: {agreement} (required: top-1 100%, score <= {tolerance:g}{boxes})"


def _progress(text: str) -> None:
    print(f"{text} …", file=sys.stderr, flush=True)
