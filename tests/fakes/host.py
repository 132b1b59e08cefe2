"""What a channel is given in tests: metrics of its own registry."""

from prometheus_client import CollectorRegistry

from maven_channel_wecom.media_opening import OUTCOMES
from maven_channel_wecom.metrics.series import ChannelMetrics
from maven_channel_wecom.policy import delivery


def channel_metrics(registry: CollectorRegistry, channel: str = "wecom") -> ChannelMetrics:
    return ChannelMetrics(
        registry,
        channel,
        media_outcomes=OUTCOMES,
        reply_reasons=delivery.REASONS,
        retry_reasons=delivery.RETRY_REASONS,
        version="0",
    )
