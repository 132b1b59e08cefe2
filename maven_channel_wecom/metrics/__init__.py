"""Every metric of the channel and every value its labels can have.

Nothing here may be a user, a chat, an id, a URL or a text: the number of series is fixed when a channel starts.
"""
