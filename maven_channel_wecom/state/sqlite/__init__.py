"""State in one SQLite file: `store` is the backend; a thread behind it owns the file."""
