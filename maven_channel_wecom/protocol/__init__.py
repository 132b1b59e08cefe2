"""WeCom's protocol as pure functions: no I/O, no clock, no randomness, no logging.

A number of five or six digits in a docstring or comment is a page of WeCom's documentation:
`https://developer.work.weixin.qq.com/document/path/<number>`.
"""
