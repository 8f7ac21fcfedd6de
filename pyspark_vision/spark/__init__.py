"""Spark itself: what its versions differ in, and what it does not promise."""
