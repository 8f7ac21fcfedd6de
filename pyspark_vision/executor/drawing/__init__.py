"""Results drawn on their pictures."""
