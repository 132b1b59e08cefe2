"""What a Maven host offers to its channels, and what it asks of them. Imports nothing of the rest of this package."""
