"""What jobs share: their start, and the places that they read and write."""
