"""Who reads a run: tables, Prometheus, reports."""
