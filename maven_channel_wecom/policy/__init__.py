"""Our own decisions as pure functions: no I/O, no clock, no randomness, no logging.

A change in `protocol` must cite a page of WeCom's documentation; a change here must give a reason.
"""
