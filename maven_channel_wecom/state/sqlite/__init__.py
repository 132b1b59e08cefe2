"""State in one SQLite file: `store` is the backend, and the thread of `writer` owns the file."""
