"""The key of a result that is sent: it lets a consumer drop repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def result_key(results: DataFrame) -> Column:
    """``topic-partition-offset-model@version``: the same for each replay of a record by a model.

    ``origin-model@version`` for what did not come from Kafka. The version is the first 12 digits
    of the model's digest: results of another model, of a new version under the same name, or of
    other preprocessing are other results.
    """
    model = F.concat_ws("@", "model", F.substring("model_digest", 1, 12))
    place = F.col("origin")
    if "topic" in results.columns:
        record = F.concat_ws("-", "topic", "partition", "offset")
        # Of two sources one has no topics.
        place = F.when(F.col("topic").isNull(), place).otherwise(record)
    return F.concat_ws("-", place, model)
