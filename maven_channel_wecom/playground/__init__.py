"""A web page that looks and behaves like a WeCom chat with a bot, and shows what travels between the two.

Its server listens on loopback, and a simulated WeCom sends what people type in the page.
"""
