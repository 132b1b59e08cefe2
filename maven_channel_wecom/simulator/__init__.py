"""A simulated WeCom for tests, for the demo and for operators. It is stricter than WeCom itself.

It sends sealed callbacks, serves `response_url` and encrypted media, and records every offence of a bot.
"""
