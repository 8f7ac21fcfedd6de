"""Spark itself: session, Connect, Hadoop file systems."""
