"""State that outlives a callback: claims, reply windows and stored callbacks, with one backend per folder or module."""
