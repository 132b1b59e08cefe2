"""A WeCom (企业微信) AI bot channel for the Maven agent host. It answers messages and never starts a conversation."""

__version__: str


def __getattr__(name: str) -> str:
    """Return `__version__`, which is read when it is asked for: the modules that read it take time to import."""
    if name != "__version__":
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    from importlib.metadata import version  # noqa: PLC0415 - see above

    return version("maven-channel-wecom")
