"""Agents that answer messages: `echo`, and `responses` for any service with the Responses API."""
