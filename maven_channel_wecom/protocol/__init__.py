"""What WeCom says, as functions of their arguments: no I/O, no clock, no randomness, no log.

A number of five or six digits in a comment is a page of WeCom's documentation:
`https://developer.work.weixin.qq.com/document/path/<number>`.
"""
