"""Grafana dashboards and Prometheus rules, built from greenai/metrics.py."""
