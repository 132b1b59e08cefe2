"""Grafana dashboards and Prometheus rules as code. `python -m dashboards` generates the files in this folder."""
