"""The first configuration of a bot: what to ask, which files to write, and what to enter in WeCom's console."""
