"""What every test has: the real clock and network kept out, secrets that would show if they leaked."""
