"""Metrics, log lines and spans, all made from the events that the other parts of a channel emit."""
