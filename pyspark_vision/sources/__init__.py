"""Where images come from: one module per system, session + frozen config -> DataFrame."""
