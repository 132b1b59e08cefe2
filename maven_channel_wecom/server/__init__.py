"""The callback port: one HTTP path on httptools, who may stay connected, answers as values."""
