"""Frames and results of both kinds of streams, told apart by their fields.

PyctureStream's (:mod:`pycturestream`) are those of ``stream_detect``; week 9's
(:mod:`image_stream`), of ``stream_classify``, become the same values: a camera is that of the
metadata, and what was classified is a result whose objects have no place in the picture.
"""

from __future__ import annotations

from pyspark_vision.clients import image_stream, pycturestream
from pyspark_vision.clients.pycturestream import BadMessageError, Result


class FailedResultError(BadMessageError):
    """A result that says why there is none: ``code`` and ``message`` of the job's error."""

    def __init__(self, camera_id: str, timestamp: str, code: str, message: str) -> None:
        super().__init__(f"the job failed at {camera_id}'s picture: {code}: {message}")
        self.camera_id, self.timestamp = camera_id, timestamp
        self.code, self.message = code, message


def read_frame(value: bytes) -> tuple[str, str, bytes]:
    """A frame's message -> camera, timestamp as sent, encoded picture.

    Raises :class:`BadMessageError`.
    """
    fields = pycturestream.json_object(value)
    if not image_stream.is_image(fields):
        return pycturestream.frame_of(fields)
    camera_id, timestamp = image_stream.place_of(fields)
    jpeg = pycturestream.picture_of(fields, image_stream.PICTURE)
    if jpeg is None:
        raise BadMessageError(f"{image_stream.PICTURE} is missing")
    return camera_id, timestamp, jpeg


def read_result(value: bytes | None) -> Result:
    """A result's message. Raises :class:`BadMessageError`, also for a record without a value, and
    :class:`FailedResultError`.

    >>> classified = b'{"image_id": "a-1", "prediction_id": "9", "label": "car", "confidence": 0.9}'
    >>> result = read_result(classified)
    >>> result.camera_id, [(one.label, one.score) for one in result.objects]
    ('images', [('car', 0.9)])
    """
    if value is None:
        raise BadMessageError("it has no value")
    fields = pycturestream.json_object(value)
    if not image_stream.is_result(fields):
        return pycturestream.result_of(fields)
    camera_id, timestamp = image_stream.place_of(fields)
    if isinstance(error := fields.get("error_message"), str):
        code, _, message = error.partition(": ")
        raise FailedResultError(camera_id, timestamp, code, message)
    model = fields.get("model_name")
    return Result(
        camera_id,
        timestamp,
        tuple(
            pycturestream.object_of({"label": label, "score": score})
            for label, score in image_stream.classes_of(fields)
        ),
        None,
        model if isinstance(model, str) else None,
    )


def readable_parts(value: bytes) -> tuple[str | None, str | None, bytes | None]:
    """Camera, timestamp and picture of a frame's message that may be damaged: what is readable.

    Raises :class:`BadMessageError` if it is no JSON object.
    """
    fields = pycturestream.json_object(value)
    if not image_stream.is_image(fields):
        return pycturestream.parts_of(fields)
    try:
        content = pycturestream.picture_of(fields, image_stream.PICTURE)
    except BadMessageError:
        content = None
    try:
        return (*image_stream.place_of(fields), content)
    except BadMessageError:
        return None, None, content
