"""The Redis backend, shared by all replicas: `store` implements the interface with the Lua scripts in `lua/`."""
