"""Connections of outgoing HTTP, the channels' and the agent's: through proxies, read in bounded pieces."""
