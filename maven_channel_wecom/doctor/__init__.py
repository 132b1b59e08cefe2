"""The command `doctor`: why a configuration does not work, and whether WeCom could save its URL. Starts no channel."""
