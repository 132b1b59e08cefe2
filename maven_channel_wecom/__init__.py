"""A WeCom (企业微信) AI bot channel for the Maven agent host. Reactive only: it answers, it never speaks first."""

from importlib.metadata import version

__version__ = version("maven-channel-wecom")
