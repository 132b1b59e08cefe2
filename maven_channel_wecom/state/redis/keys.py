"""What the keys of a channel begin with."""


def key_prefix(channel: str) -> str:
    """Return the beginning of all keys of a channel, and of no other's.

    Its name is in braces, the tag that keeps it in one slot of a cluster. A closing brace in the name would end the tag
    and the name early, and the rest could be a message of the channel that is called by the beginning.
    """
    name = channel.replace("%", "%25").replace("}", "%7D")
    return f"maven-wecom:{{{name}}}:"
