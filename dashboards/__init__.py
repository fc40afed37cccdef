"""Grafana dashboards and Prometheus rules, built from greenai/metrics.py."""

from __future__ import annotations

from greenai.dashboards.shipped import DASHBOARDS, FILES, SERVERS, Shipped, install, text_of

__all__ = ["DASHBOARDS", "FILES", "SERVERS", "Shipped", "install", "text_of"]
