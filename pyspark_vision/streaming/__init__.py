"""How streams run: one query, one inference, many sinks."""
