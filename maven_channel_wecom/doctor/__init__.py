"""The command `doctor`: checks a configuration, its surroundings and the URL in WeCom's console. Starts no channel."""
