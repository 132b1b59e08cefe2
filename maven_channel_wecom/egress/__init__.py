"""Outgoing HTTP, on aiohttp's public API: reply POSTs and media downloads, to allowed addresses only."""
