"""Dashboards and rules as code: `python -m dashboards` writes the files beside it that Grafana and Prometheus load."""
