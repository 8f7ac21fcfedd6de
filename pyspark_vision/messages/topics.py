"""The topics of the systems whose messages are read and written, and words that stand in them.

Free of Spark: clients use these names too.
"""

# PyctureStream: frames, results.
FRAME_TOPIC, RESULT_TOPIC = "pycturestream", "resultstream"
# An event of a frame in which nothing was found.
NOTHING_DETECTED = "Nothing detected"
# The Dataproc classifier: images, results.
IMAGE_TOPIC, IMAGE_RESULT_TOPIC = "image-stream", "image-stream-results"
# The event pipeline's web API.
EVENT_TOPIC = "events"

# How a flag names a topic where it may also name a folder.
KAFKA_SCHEME = "kafka:"
PUBSUB_SCHEME = "pubsub:"
# In front of the names of a dead letter's headers.
LETTER_HEADER_PREFIX = "pyspark_vision."
# A letter that was put back says where it first failed, and over Pub/Sub which letter it is: by
# that the source tells what is put back from a repeat of what it has read.
REPLAY_OF = LETTER_HEADER_PREFIX + "replay_of"
REPLAYED_LETTER = LETTER_HEADER_PREFIX + "replayed_letter"
