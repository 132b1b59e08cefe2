"""The contract between a Maven host and its channels. Imports nothing else from this package."""
