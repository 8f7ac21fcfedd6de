"""Why records of a topic were lost, as a stream counts them."""

LOST_BY_RETENTION, LOST_WITH_TOPIC = "lost_by_retention", "lost_with_topic"
LOSSES = frozenset((LOST_BY_RETENTION, LOST_WITH_TOPIC))
