"""What we decide, as functions of their arguments: no I/O, no clock, no randomness, no log.

A change in `protocol` needs a page of WeCom; a change here needs an argument.
"""
