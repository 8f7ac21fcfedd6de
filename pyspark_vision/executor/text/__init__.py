"""Reading text in pictures, and texts as vectors."""
