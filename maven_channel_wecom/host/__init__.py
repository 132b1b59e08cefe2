"""The embedded Maven host: configuration, agents, cron, status. Imports no channel: it finds them by entry point."""
