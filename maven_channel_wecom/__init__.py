"""A WeCom (企业微信) AI bot channel for the Maven agent host. It only answers messages, it does not initiate any."""

from importlib.metadata import version

__version__ = version("maven-channel-wecom")
