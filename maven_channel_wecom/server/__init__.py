"""The callback port: an HTTP server for one path, on httptools, with limits for connections and bodies."""
