"""Draw pictures, train the demo dual encoder, measure it, write models/demo-dual-encoder.

python scripts/train_demo_dual_encoder.py   # two minutes or so: see the model's card
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]  # from a bare checkout, PYTHONSAFEPATH or not
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

NAME = "demo-dual-encoder"

# Seeds of the pictures. The ranges must not meet: what is measured was never trained on.
TRAINING_SEEDS, EVALUATION_SEEDS = range(1_000_000), range(2_000_000, 3_000_000)
_TRAINING_WH, _EVALUATION_WH = (160, 120), (320, 240)

CARD = """# demo-dual-encoder

Puts pictures and texts into one space: a picture of a drawn object and a text that is true of it
point alike.

- image tower: `pixel_values` [N, 3, 64, 64], RGB in -1..1, stretched to the size -> [N, 64]
- text tower: `input_ids`, `attention_mask` [N, T], at most {tokens} words -> [N, 64]
- scores: softmax of {scale:.1f} times the cosine, over the texts given

It knows {words} words: {colors};
{labels};
"a picture of a …", "a photo of a …", "a drawing of a …". Every other word is the same one to it.

## How it was made

`python scripts/train_demo_dual_encoder.py --seed {seed} --pictures {pictures} --epochs {epochs}`

Drawing, training and export took {minutes:.1f} minutes on {cores} CPU cores, without a GPU:
Python {python}, {packages}. The loss is CLIP's.
The seed fixes pictures, texts and first weights; TensorFlow's operations are deterministic ones.
Run again, with as many cores and these packages, it gave the same bytes.

## Measured

On {measured:,} pictures of one object each, by `classify_image` with the labels named:

- "a cat", "a car", … of {classes} kinds: the right one is first for **{label_accuracy:.3f}**
- "a red car", "a blue car", … in {n_colors} colours, of the {colored:,} pictures with a clear
  colour: **{color_accuracy:.3f}**

## Data

Drawn pictures only (`pyspark_vision.clients.scenes`). A picture's colour is the name of the hue
that at least seven tenths of the vivid pixels in the object's box have; no person has named it. No
photograph and nobody's data is in it.

## Limits

It knows these drawings and these words and nothing else. It is here so that a first run, a
demonstration and a test have a real dual encoder with known answers.

## Licence

The same as the project's: weights, words and pictures were all made by its own code.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Train, measure, print, and write the bundle with its card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "models" / NAME, help="default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=1, help="default: %(default)s")
    parser.add_argument("--pictures", type=int, default=12_000, help="default: %(default)s")
    parser.add_argument("--epochs", type=int, default=12, help="default: %(default)s")
    parser.add_argument(
        "--measure", type=int, default=1_000, help="pictures to measure on (default: %(default)s)"
    )
    options = parser.parse_args(argv)
    record = options.output / "model.json"
    if record.is_file() and json.loads(record.read_text("utf-8")).get("name") != NAME:
        parser.error(f"--output {options.output} holds another model; name a new folder")

    import keras
    import tensorflow as tf
    from demo_dual_encoder import captions, evaluation, export, network, tokens

    from pyspark_vision.bundles import ModelSpec
    from pyspark_vision.clients.scenes import LABELS

    started = time.perf_counter()
    keras.utils.set_random_seed(options.seed)
    tf.config.experimental.enable_op_determinism()
    drawn = captions.pictures(TRAINING_SEEDS[: options.pictures], _TRAINING_WH)
    words = tokens.tokenizer().get_vocab_size()
    towers = network.train(*drawn, words, options.epochs, options.seed)
    with tempfile.TemporaryDirectory() as folder:
        export.export(towers, Path(folder))
        minutes = (time.perf_counter() - started) / 60
        spec = ModelSpec.inspect(
            folder,
            name=NAME,
            licence="the project's own",
            source="scripts/train_demo_dual_encoder.py",
        )
        # A bundle does not go over another model: the one of before goes first.
        if record.is_file():
            shutil.rmtree(options.output / "towers")
        spec.save(options.output)
    report = evaluation.measure(
        ModelSpec.load(options.output), EVALUATION_SEEDS[: options.measure], _EVALUATION_WH
    )
    card = CARD.format(
        tokens=tokens.MAX_TOKENS,
        scale=spec.logit_scale,
        words=len(captions.WORDS),
        colors=", ".join(captions.COLORS),
        labels=", ".join(LABELS),
        seed=options.seed,
        pictures=options.pictures,
        epochs=options.epochs,
        minutes=minutes,
        cores=os.cpu_count(),
        python=platform.python_version(),
        packages=", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy")),
        measured=options.measure,
        classes=len(LABELS),
        n_colors=len(captions.COLORS),
        colored=report.colored,
        label_accuracy=report.label_accuracy,
        color_accuracy=report.color_accuracy,
    )
    (options.output / "CARD.md").write_text(card, encoding="utf-8")
    print(card)


if __name__ == "__main__":
    main()
