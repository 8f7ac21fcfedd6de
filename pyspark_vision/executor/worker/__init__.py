"""The Python worker itself: a loaded model in it, rows apart from it, its end."""
