"""What jobs share: the places that they read and write."""
