"""The embedded Maven host: configuration, agents, cron, status. Knows channels only by contract and entry point."""
