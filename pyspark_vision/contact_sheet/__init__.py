"""The contact sheet: Parquet of results in, one self-contained page to look at out."""
