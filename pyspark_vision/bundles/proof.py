"""What a bundle keeps of its comparison with a reference: whose numbers it gave, and how nearly."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Proof:
    """A bundle gave a reference's answers: ``bundle verify``.

    - ``reference``: the file's name, and ``reference_sha256`` of its bytes.
    - ``pictures``: how many were compared, and ``pictures_sha256`` of all their bytes.
    - ``tolerance``: the largest difference of scores that was allowed, and
      ``max_score_difference`` that there was; ``min_box_iou`` of matched boxes, ``None`` where
      there are none; ``top1_agreement``: the share of pictures with the same best answer.
    - ``model_digest``: the digest of what was compared. Another preparation, file or engine has
      another digest, and this proof says nothing of it.
    - ``date``: in UTC, ISO 8601; ``versions``: the versions of what computed, by name.
    """

    reference: str
    reference_sha256: str
    pictures: int
    pictures_sha256: str
    tolerance: float
    max_score_difference: float
    min_box_iou: float | None
    top1_agreement: float
    model_digest: str
    date: str
    versions: tuple[tuple[str, str], ...]

    def record(self) -> dict[str, Any]:
        """The proof as JSON keeps it; :func:`of_record` reads it."""
        return {**asdict(self), "versions": dict(self.versions)}

    def __str__(self) -> str:
        """The figures in one line."""
        boxes = "" if self.min_box_iou is None else f", box IoU at least {self.min_box_iou:.4f}"
        return (
            f"verified against {self.reference} on {self.date[:10]}: {self.pictures} pictures, "
            f"largest score difference {self.max_score_difference:.2g} (allowed "
            f"{self.tolerance:g}){boxes}"
        )


def of_record(record: dict[str, Any]) -> Proof:
    """Raises ``TypeError``, ``KeyError`` or ``AttributeError`` for another record."""
    versions = tuple((str(name), str(version)) for name, version in record["versions"].items())
    return Proof(**{**record, "versions": versions})
