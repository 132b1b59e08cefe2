"""State in Redis, shared by all replicas: `store` is the backend; its steps are the scripts in `lua/`."""
