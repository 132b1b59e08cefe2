"""A WeCom (企业微信) AI bot channel for the Maven agent host. It answers messages and never starts a conversation."""

from importlib.metadata import version

__version__ = version("maven-channel-wecom")
