"""What `make bench-latency` is made of: a broker's clients, the streams, and the figures."""
