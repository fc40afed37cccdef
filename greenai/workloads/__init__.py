"""Reference models and data for `greenai bench`; the only place here that imports torch."""
