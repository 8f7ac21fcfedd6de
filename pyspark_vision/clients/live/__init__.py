"""The live page: cameras and what a job finds in their frames, in a browser, from Kafka."""
