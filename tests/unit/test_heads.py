"""Raw outputs of one image -> predictions, detections, an embedding; numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from specs import spec_of

from pyspark_vision.executor.decode.preprocess import Placement
from pyspark_vision.executor.outputs.heads import (
    PRE_NMS_BOXES,
    ClassifyOptions,
    Detections,
    DetectOptions,
    EmbedOptions,
    Predictions,
    classify,
    detect,
    embed,
)

Array = np.ndarray[Any, Any]


def array(values: Any) -> Array:
    return np.array(values, np.float32)


# Classification


def classified(
    scores: Any, top_k: int = 5, score_threshold: float = 0.0, **fields: Any
) -> list[tuple[int, float]]:
    found = classify(
        spec_of(**fields), {"scores": array(scores)}, ClassifyOptions(top_k, score_threshold)
    )
    return pairs(found)


def pairs(found: Predictions | Detections) -> list[tuple[int, float]]:
    assert (found.class_ids.dtype, found.scores.dtype) == (np.int32, np.float32)
    scores = [round(score, 4) for score in found.scores.tolist()]
    return list(zip(found.class_ids.tolist(), scores, strict=True))


def test_classes_come_best_first() -> None:
    assert classified([0.1, 0.7, 0.2]) == [(1, 0.7), (2, 0.2), (0, 0.1)]


def test_probabilities_stay_as_they_are() -> None:
    assert classified([0.9, 0.8]) == [(0, 0.9), (1, 0.8)]


def test_logits_become_probabilities_that_add_up_to_one() -> None:
    # e^0 : e^ln(3) = 1 : 3
    assert classified([0.0, np.log(3)], score_kind="logit") == [(1, 0.75), (0, 0.25)]


def test_large_logits_do_not_overflow() -> None:
    assert classified([1000.0, 0.0], score_kind="logit") == [(0, 1.0), (1, 0.0)]


def test_a_class_masked_with_minus_infinity_has_probability_zero() -> None:
    assert classified([0.0, -np.inf], score_kind="logit") == [(0, 1.0), (1, 0.0)]


@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 1, 1)])
def test_scores_of_any_shape_are_one_list(shape: tuple[int, ...]) -> None:
    assert classified(array([0.1, 0.7, 0.2]).reshape(shape), top_k=1) == [(1, 0.7)]


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (2, 2), (3, 3), (4, 3), (1000, 3)])
def test_top_k_is_at_most_all_classes(top_k: int, count: int) -> None:
    assert len(classified([0.1, 0.7, 0.2], top_k)) == count


def test_equal_scores_keep_the_lower_class_first() -> None:
    assert [class_id for class_id, _ in classified([0.25, 0.25, 0.5, 0.25])] == [2, 0, 1, 3]


@pytest.mark.parametrize("top_k", [1, 2, 5, 99, 100])
def test_the_best_of_many_are_those_of_all_in_order(top_k: int) -> None:
    # A few values, so that many classes tie at the last place, too.
    scores = np.random.default_rng(0).integers(0, 8, 100) / 8
    in_order = sorted(range(100), key=lambda class_id: (-scores[class_id], class_id))

    found = [class_id for class_id, _ in classified(scores, top_k)]

    assert found == in_order[:top_k]


@pytest.mark.parametrize(
    ("score_threshold", "class_ids"), [(0.0, [1, 2, 0]), (0.25, [1, 2]), (0.5, [1]), (0.6, [])]
)
def test_scores_reach_the_threshold(score_threshold: float, class_ids: list[int]) -> None:
    found = classified([0.0, 0.5, 0.25], score_threshold=score_threshold)
    assert [class_id for class_id, _ in found] == class_ids


@pytest.mark.parametrize(("background_class", "best"), [(None, 0), (0, 2), (2, 0)])
def test_background_is_never_a_result(background_class: int | None, best: int) -> None:
    found = classified([0.6, 0.1, 0.3], background_class=background_class)
    assert found[0][0] == best
    assert background_class not in [class_id for class_id, _ in found]


def test_background_still_takes_its_share_of_the_probability() -> None:
    assert classified([0.0, 0.0], score_kind="logit", background_class=0) == [(1, 0.5)]


@pytest.mark.parametrize("label_offset", [-1, 0, 1, 100])
def test_label_offset_is_added_to_the_class(label_offset: int) -> None:
    assert classified([0.0, 1.0], top_k=1, label_offset=label_offset) == [(1 + label_offset, 1.0)]


def test_background_is_named_by_the_models_own_index() -> None:
    found = classified([0.6, 0.3, 0.1], background_class=0, label_offset=-1)
    assert found == [(0, 0.3), (1, 0.1)]


@pytest.mark.parametrize("score_kind", ["probability", "logit"])
def test_scores_with_nan_are_refused(score_kind: str) -> None:
    with pytest.raises(ValueError, match="not finite"):
        classified([0.5, np.nan], score_kind=score_kind)


# Detection

UNIT = (0.0, 0.0, 1.0, 1.0)
# One of the same size moved by half its width: an IoU of 1/3.
MOVED = (0.5, 0.0, 1.5, 1.0)
# For tests in which boxes do not matter: apart from each other.
APART = [(0.0, 0.1 * i, 1.0, 0.1 * i + 0.1) for i in range(10)]


def detected(
    outputs: dict[str, Any],
    *,
    score_threshold: float = 0.0,
    max_detections: int = 100,
    iou_threshold: float | None = None,
    placement: Placement | None = None,
    **fields: Any,
) -> Detections:
    spec = spec_of("detect", **({"box_format": "xyxy"} | fields))
    options = DetectOptions(score_threshold, max_detections, iou_threshold)
    arrays = {role: array(values) for role, values in outputs.items()}
    return detect(spec, arrays, placement or Placement(), options)


def test_detections_come_best_first_with_their_class_and_box() -> None:
    boxes = [(0.0, 0.0, 0.5, 0.5), (0.5, 0.5, 1.0, 1.0)]
    found = detected({"boxes": boxes, "scores": [0.3, 0.9], "classes": [7, 2]})
    assert pairs(found) == [(2, 0.9), (7, 0.3)]
    assert found.xyxy.tolist() == [[0.5, 0.5, 1.0, 1.0], [0.0, 0.0, 0.5, 0.5]]
    assert found.xyxy.dtype == np.float32


def test_without_classes_every_box_is_of_class_zero() -> None:
    assert pairs(detected({"boxes": APART[:2], "scores": [0.5, 0.9]})) == [(0, 0.9), (0, 0.5)]


@pytest.mark.parametrize(("count", "found"), [(0, 0), (1, 1), (2, 2), (3, 3), (9, 3), (-1, 0)])
def test_count_says_how_many_of_a_padded_output_are_real(count: int, found: int) -> None:
    outputs = {"boxes": APART[:3], "scores": [0.9, 0.8, 0.7], "classes": [1, 1, 1]}
    assert len(detected(outputs | {"count": [count]}).scores) == found


def test_count_of_boxes_with_scores_of_each_class_counts_boxes() -> None:
    # Both classes of the first box are real, and the padded second box is not.
    outputs = {"boxes": APART[:2], "class_scores": [[0.9, 0.8], [0.7, 0.6]], "count": [1]}
    assert pairs(detected(outputs)) == [(0, 0.9), (1, 0.8)]


def test_without_a_count_padding_is_what_scores_zero() -> None:
    outputs = {"boxes": [UNIT, (0, 0, 0, 0)], "scores": [0.9, 0.0], "classes": [1, 0]}
    assert pairs(detected(outputs)) == [(1, 0.9)]


def test_padding_with_class_minus_one_is_dropped() -> None:
    outputs = {"boxes": APART[:2], "scores": [0.9, 0.8], "classes": [-1, 3]}
    assert pairs(detected(outputs)) == [(3, 0.8)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("role", ["boxes", "classes"])
def test_a_box_or_class_that_is_not_finite_drops_its_detection_only(role: str, bad: float) -> None:
    outputs = {"boxes": array(APART[:2]), "scores": array([0.9, 0.8]), "classes": array([1, 2])}
    outputs[role][0] = bad
    assert pairs(detected(outputs)) == [(2, 0.8)]


@pytest.mark.parametrize("garbage", [1e30, -1e30, 3e9])
def test_a_class_that_no_integer_holds_drops_its_detection_only(garbage: float) -> None:
    outputs = {"boxes": APART[:2], "scores": [0.9, 0.8], "classes": [garbage, 2]}
    assert pairs(detected(outputs)) == [(2, 0.8)]


@pytest.mark.parametrize(
    "outputs", [{"scores": [np.nan, 0.8]}, {"class_scores": [[np.nan], [0.8]]}]
)
def test_a_score_that_is_nan_drops_its_detection_only(outputs: dict[str, Any]) -> None:
    assert pairs(detected({"boxes": APART[:2], **outputs})) == [(0, 0.8)]


@pytest.mark.parametrize(("score_threshold", "found"), [(0.0, 3), (0.25, 2), (0.5, 1), (0.75, 0)])
def test_scores_are_above_the_threshold(score_threshold: float, found: int) -> None:
    outputs = {"boxes": APART[:3], "scores": [0.25, 0.75, 0.5]}
    assert len(detected(outputs, score_threshold=score_threshold).scores) == found


@pytest.mark.parametrize("iou_threshold", [None, 0.5])
@pytest.mark.parametrize(
    ("max_detections", "scores"), [(1, [0.75]), (2, [0.75, 0.5]), (9, [0.75, 0.5])]
)
def test_the_best_are_kept_up_to_max_detections(
    max_detections: int, scores: list[float], iou_threshold: float | None
) -> None:
    found = detected(
        {"boxes": APART[:2], "scores": [0.5, 0.75]},
        max_detections=max_detections,
        iou_threshold=iou_threshold,
    )
    assert found.scores.tolist() == scores


@pytest.mark.parametrize("iou_threshold", [None, 0.5])
@pytest.mark.parametrize("outputs", [{"scores": []}, {"class_scores": np.empty((0, 3))}])
def test_no_box_gives_no_detection(outputs: dict[str, Any], iou_threshold: float | None) -> None:
    found = detected({"boxes": np.empty((0, 4)), **outputs}, iou_threshold=iou_threshold)
    assert (found.class_ids.shape, found.scores.shape, found.xyxy.shape) == ((0,), (0,), (0, 4))


def test_background_is_no_detection() -> None:
    outputs = {"boxes": APART[:2], "scores": [0.9, 0.8], "classes": [0, 1]}
    assert pairs(detected(outputs, background_class=0)) == [(1, 0.8)]


def test_background_of_scores_of_each_class_is_no_detection() -> None:
    outputs = {"boxes": [UNIT], "class_scores": [[0.9, 0.1]]}
    assert pairs(detected(outputs, background_class=0)) == [(1, 0.1)]


@pytest.mark.parametrize("label_offset", [-1, 1])
def test_label_offset_is_added_to_the_class_of_a_box(label_offset: int) -> None:
    outputs = {"boxes": [UNIT], "scores": [0.5], "classes": [16]}
    assert pairs(detected(outputs, label_offset=label_offset)) == [(16 + label_offset, 0.5)]


@pytest.mark.parametrize("roles", ["scores", "class_scores"])
def test_logits_of_boxes_are_independent(roles: str) -> None:
    # sigmoid(ln 3) = 3/4, whatever the other class has
    values = [np.log(3), np.log(3)]
    outputs: dict[str, Any] = {"scores": {"boxes": APART[:2], "scores": values}}.get(
        roles, {"boxes": [UNIT], "class_scores": [values]}
    )
    assert detected(outputs, score_kind="logit").scores.tolist() == pytest.approx([0.75, 0.75])


def test_extreme_logits_of_boxes_do_not_overflow() -> None:
    outputs = {"boxes": APART[:2], "scores": [1e4, -1e4]}
    assert detected(outputs, score_kind="logit").scores.tolist() == pytest.approx([1.0, 0.0])


@pytest.mark.parametrize(
    ("box_format", "box"),
    [
        ("xyxy", (0.25, 0.5, 0.75, 1.0)),
        ("yxyx", (0.5, 0.25, 1.0, 0.75)),
        ("xywh", (0.25, 0.5, 0.5, 0.5)),
        ("cxcywh", (0.5, 0.75, 0.5, 0.5)),
    ],
)
def test_every_box_format_gives_corners(
    box_format: str, box: tuple[float, float, float, float]
) -> None:
    found = detected({"boxes": [box], "scores": [0.5]}, box_format=box_format)
    assert found.xyxy.tolist() == [[0.25, 0.5, 0.75, 1.0]]


def test_pixel_boxes_are_of_the_models_input() -> None:
    outputs = {"boxes": [(10, 30, 50, 60)], "scores": [0.5]}
    found = detected(outputs, coordinates="pixel", input_hw=(120, 200))
    np.testing.assert_allclose(found.xyxy, [[0.05, 0.25, 0.25, 0.5]], rtol=1e-6)


def test_boxes_of_a_letterboxed_input_are_of_the_picture() -> None:
    # A 2:1 picture in the middle half of a square input, between 1/4 and 3/4 of its height.
    placement = Placement(y_scale=2.0, y_shift=-0.5)
    outputs = {"boxes": [(0.5, 0.25, 1.0, 0.75), (0.0, 0.5, 0.5, 0.9)], "scores": [0.9, 0.8]}
    found = detected(outputs, placement=placement)
    np.testing.assert_allclose(found.xyxy, [[0.5, 0.0, 1.0, 1.0], [0.0, 0.5, 0.5, 1.0]])


def test_boxes_beyond_the_picture_are_clipped() -> None:
    found = detected({"boxes": [(-0.25, 0.5, 1.25, 7.0)], "scores": [0.5]})
    assert found.xyxy.tolist() == [[0.0, 0.5, 1.0, 1.0]]


@pytest.mark.parametrize(("iou_threshold", "scores"), [(None, [0.75, 0.5]), (0.3, [0.75])])
def test_overlaps_are_suppressed_on_demand(
    iou_threshold: float | None, scores: list[float]
) -> None:
    # In pixels, so that clipping to the picture leaves both boxes whole.
    outputs = {"boxes": [(0, 0, 4, 4), (2, 0, 6, 4)], "scores": [0.5, 0.75]}
    found = detected(outputs, iou_threshold=iou_threshold, coordinates="pixel")
    assert found.scores.tolist() == scores


def test_overlaps_of_other_classes_are_kept() -> None:
    outputs = {"boxes": [UNIT, UNIT], "scores": [0.9, 0.8], "classes": [1, 2]}
    assert pairs(detected(outputs, iou_threshold=0.1)) == [(1, 0.9), (2, 0.8)]


def test_scores_of_each_class_give_a_detection_for_each_class_above() -> None:
    outputs = {"boxes": APART[:2], "class_scores": [[0.1, 0.75], [0.5, 0.625]]}
    found = detected(outputs, score_threshold=0.25)
    assert pairs(found) == [(1, 0.75), (1, 0.625), (0, 0.5)]
    np.testing.assert_allclose(found.xyxy, [APART[0], APART[1], APART[1]])


def test_scores_of_each_class_are_suppressed_within_their_class() -> None:
    outputs = {"boxes": [UNIT, UNIT], "class_scores": [[0.9, 0.2], [0.8, 0.7]]}
    found = detected(outputs, score_threshold=0.1, iou_threshold=0.5)
    assert pairs(found) == [(0, 0.9), (1, 0.7)]


def side_by_side(count: int) -> Array:
    """So many boxes of equal size, in rows, apart from one another."""
    per_row = int(np.ceil(np.sqrt(count)))
    y, x = np.divmod(np.arange(count), per_row)
    return np.stack([x, y, x + 0.8, y + 0.8], 1).astype(np.float32) / per_row


def codes(found: Detections) -> list[str]:
    return [warning.code.value for warning in found.warnings]


def test_every_object_of_a_dense_scene_is_found() -> None:
    # 250 objects of 8 boxes each: more boxes than 1,000, of which the best leave objects out.
    boxes = side_by_side(250).repeat(8, 0)
    scores = np.linspace(0.4, 0.9, 250).repeat(8) - np.tile(np.arange(8) * 0.01, 250)
    found = detected(
        {"boxes": boxes, "scores": scores},
        score_threshold=0.25,
        max_detections=300,
        iou_threshold=0.5,
    )
    assert (len(found.scores), found.warnings) == (250, ())
    assert float(found.scores.min()) == pytest.approx(0.4)


@pytest.mark.parametrize("iou_threshold", [None, 0.5])
@pytest.mark.parametrize("max_detections", [1500, 5000])
def test_max_detections_above_a_thousand_has_its_effect(
    max_detections: int, iou_threshold: float | None
) -> None:
    outputs = {"boxes": side_by_side(2000), "scores": np.linspace(0.1, 0.9, 2000)}
    found = detected(outputs, max_detections=max_detections, iou_threshold=iou_threshold)
    assert (len(found.scores), found.warnings) == (min(2000, max_detections), ())


def test_no_box_is_left_out_where_nothing_is_suppressed() -> None:
    count = PRE_NMS_BOXES + 5
    outputs = {"boxes": side_by_side(count), "scores": np.linspace(0.1, 0.9, count)}
    found = detected(outputs, max_detections=count)
    assert (len(found.scores), found.warnings) == (count, ())


@pytest.mark.parametrize("more", [0, 5])
def test_boxes_that_are_not_compared_are_said(more: int) -> None:
    count = PRE_NMS_BOXES + more
    # The best is alone; all others are one object, but for the worst.
    boxes = np.tile(array([0.0, 0.0, 0.2, 0.2]), (count, 1))
    boxes[0], boxes[-1] = (0.5, 0.5, 0.6, 0.6), (0.8, 0.8, 0.9, 0.9)
    outputs = {"boxes": boxes, "scores": np.linspace(0.9, 0.1, count)}
    found = detected(outputs, iou_threshold=0.5)
    assert len(found.scores) == (3 if more == 0 else 2)
    if more == 0:
        assert found.warnings == ()
    else:
        assert codes(found) == ["boxes_capped"]
        assert "30,005 boxes are above the threshold; only the best 30,000" in (
            found.warnings[0].message
        )


def test_more_boxes_are_compared_where_more_detections_are_asked_for() -> None:
    count = PRE_NMS_BOXES + 5
    outputs = {"boxes": side_by_side(count), "scores": np.linspace(0.1, 0.9, count)}
    found = detected(outputs, max_detections=count, iou_threshold=0.5)
    assert (len(found.scores), found.warnings) == (count, ())


# No area

WITHOUT_AREA = {
    "left of the picture": (-0.5, 0.2, -0.1, 0.4),
    "below the picture": (0.2, 1.1, 0.4, 1.5),
    "touching from outside": (1.0, 0.2, 1.5, 0.4),
    "a point": (0.5, 0.5, 0.5, 0.5),
    "a line": (0.1, 0.5, 0.9, 0.5),
    "xmin > xmax": (0.6, 0.2, 0.4, 0.4),
    "ymin > ymax": (0.2, 0.6, 0.4, 0.4),
    "nan": (np.nan, 0.2, 0.4, 0.4),
    "infinite": (-np.inf, 0.2, np.inf, 0.4),
    "beyond float32": (3e38, 0.2, 3.4e38, 0.4),
}


@pytest.mark.parametrize("iou_threshold", [None, 0.5])
@pytest.mark.parametrize("roles", ["scores", "class_scores", "end_to_end", "detr_logits"])
@pytest.mark.parametrize("box", WITHOUT_AREA.values(), ids=WITHOUT_AREA)
def test_a_box_without_area_is_left_out_and_counted(
    box: tuple[float, ...], roles: str, iou_threshold: float | None
) -> None:
    boxes = [box, *APART[:2], box]
    by_roles: dict[str, dict[str, Any]] = {
        "scores": {"boxes": boxes, "scores": [0.95, 0.9, 0.8, 0.1]},
        "class_scores": {"boxes": boxes, "class_scores": [[0.95], [0.9], [0.8], [0.1]]},
        "end_to_end": {
            "end_to_end": [
                (*one, score, 0) for one, score in zip(boxes, (0.95, 0.9, 0.8, 0.1), strict=True)
            ]
        },
        "detr_logits": {"boxes": boxes, "detr_logits": [[3, 0], [2, 0], [1, 0], [-3, 0]]},
    }
    found = detected(by_roles[roles], score_threshold=0.5, iou_threshold=iou_threshold)
    np.testing.assert_allclose(found.xyxy, APART[:2])
    assert codes(found) == ["boxes_without_area"]
    assert "1 of 3 boxes above the threshold have no area in the picture" in (
        found.warnings[0].message
    )


@pytest.mark.parametrize("box_format", ["xywh", "cxcywh"])
@pytest.mark.parametrize("side", [(-0.2, 0.2), (0.2, -0.2), (0.0, 0.2)])
def test_a_box_of_negative_or_no_size_is_left_out_and_counted(
    side: tuple[float, float], box_format: str
) -> None:
    found = detected({"boxes": [(0.5, 0.5, *side)], "scores": [0.9]}, box_format=box_format)
    assert (len(found.scores), codes(found)) == (0, ["boxes_without_area"])


@pytest.mark.parametrize(
    "box", [(10, 100, 80, 200), (560, 100, 640, 200), (0, 100, 79, 200), (-40, 100, 80, 200)]
)
def test_a_box_in_the_padding_of_a_letterbox_has_no_area_in_the_picture(
    box: tuple[float, ...],
) -> None:
    # A 3:4 picture between 80 and 560 of 640 pixels; the rest is padding.
    placement = Placement(x_scale=640 / 480, x_shift=-80 / 480)
    found = detected(
        {"boxes": [box, (70, 100, 90, 200)], "scores": [0.9, 0.8]},
        placement=placement,
        coordinates="pixel",
        input_hw=(640, 640),
    )
    np.testing.assert_allclose(found.xyxy, [[0, 100 / 640, 10 / 480, 200 / 640]], atol=1e-6)
    assert codes(found) == ["boxes_without_area"]


def test_a_box_of_a_pixel_of_a_large_picture_has_area() -> None:
    found = detected({"boxes": [(0.5, 0.5, 0.5 + 1 / 65_500, 0.5 + 1 / 65_500)], "scores": [0.9]})
    assert (len(found.scores), found.warnings) == (1, ())


def test_boxes_that_are_no_detections_anyway_are_not_counted() -> None:
    nothing = (0.0, 0.0, 0.0, 0.0)
    outputs = {
        "boxes": [UNIT, nothing, nothing, nothing, nothing],
        "scores": [0.9, 0.2, 0.9, 0.9, 0.9],
        "classes": [1, 1, -1, 7, 1],  # below the threshold; padding; background; beyond the count
        "count": 4,
    }
    found = detected(outputs, score_threshold=0.5, background_class=7)
    assert (pairs(found), found.warnings) == ([(1, 0.9)], ())


def test_a_box_without_area_takes_no_place_of_max_detections() -> None:
    outputs = {"boxes": [(0, 0, 0, 0), *APART[:2]], "scores": [0.9, 0.8, 0.7]}
    assert pairs(detected(outputs, max_detections=2)) == [(0, 0.8), (0, 0.7)]


def test_outputs_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="3 boxes, 2 scores and 2 classes"):
        detected({"boxes": APART[:3], "scores": [0.9, 0.8]})


def test_boxes_in_a_batch_dimension_of_one_are_taken() -> None:
    outputs = {"boxes": [[UNIT]], "scores": [[0.5]], "classes": [[3]], "count": 1}
    assert pairs(detected(outputs)) == [(3, 0.5)]


# Embedding


def embedded(values: Any, *, normalize: bool = False) -> list[float]:
    vector = embed(spec_of("embed"), {"embedding": np.asarray(values)}, EmbedOptions(normalize))
    assert vector.dtype == np.float32
    return vector.tolist()


def test_embedding_is_the_output_flattened() -> None:
    assert embedded([[[1.0, 2.0]], [[3.0, 4.0]]]) == [1.0, 2.0, 3.0, 4.0]


def test_normalized_embedding_has_length_one() -> None:
    assert embedded([3.0, 4.0], normalize=True) == pytest.approx([0.6, 0.8])


def test_zero_vector_stays_zero_when_normalized() -> None:
    assert embedded([0.0, 0.0], normalize=True) == [0.0, 0.0]


@pytest.mark.parametrize("magnitude", [1e-30, 1e30, 3e38])
def test_normalizing_neither_overflows_nor_vanishes(magnitude: float) -> None:
    values = np.full(4, magnitude, np.float32)
    assert embedded(values, normalize=True) == pytest.approx([0.5] * 4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8])
def test_embedding_of_any_type_becomes_float32(dtype: type) -> None:
    assert embedded(np.array([1, 2], dtype)) == [1.0, 2.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_embedding_that_is_not_finite_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        embedded([1.0, bad])
