"""The demo dual encoder: what pictures are called, two small towers, and their files."""
