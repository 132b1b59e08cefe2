"""Agents that answer messages: `echo`, and services with the Responses or the Chat Completions API."""
