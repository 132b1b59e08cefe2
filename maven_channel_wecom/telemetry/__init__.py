"""What only reports: metrics, log lines and spans, all made from the values in `events` that the flow emits."""
