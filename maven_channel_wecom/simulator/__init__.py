"""WeCom's side, played for tests, for the demo and for operators, and stricter than WeCom.

It seals callbacks, serves `response_url` and encrypted media, and keeps a list of what a bot did wrong.
"""
