"""The SQLite backend: `store` implements the interface, and a thread of `writer` owns the file."""
