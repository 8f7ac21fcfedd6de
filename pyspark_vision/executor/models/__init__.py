"""Model files in a worker: shipped, loaded once, their weights shared, and the memory for them."""
