"""Builders of panels and dashboards with one data source and one style. Every panel has a description and a unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as dashboard_builders
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.builders.stat import Panel as StatPanel
from grafana_foundation_sdk.builders.timeseries import Panel as TimeSeriesPanel
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    DataSourceRef,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import Dashboard as DashboardModel
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import ValueMapping, VariableModel

SELECTED: Final = 'channel=~"$channel", job=~"$job", instance=~"$instance"'
"""Matchers of the selected channels, jobs and instances."""

PROCESS: Final = 'job=~"$job", instance=~"$instance"'
"""Matchers for series without the label `channel`; to be joined with OF_SELECTED."""

OF_SELECTED: Final = f"and on (job, instance) maven_wecom_build_info{{{SELECTED}}}"
"""Join that keeps the processes with a selected channel."""

PER_MINUTE: Final = "suffix:/min"
SHARE: Final = "percentunit"
SECONDS: Final = "s"
BYTES: Final = "bytes"
COUNT: Final = "short"

LOW: Final = 4
HIGH: Final = 8

TAG: Final = "maven-wecom"

_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
_GOOD: Final = "green"
_BAD: Final = "red"

SeriesByLegend = dict[str, str]


def stat(
    title: str,
    description: str,
    expr: str,
    unit: str,
    *,
    bad_from: float | None = None,
    good_from: float | None = None,
    value_texts: Mapping[str, tuple[str, str]] | None = None,
    text_label: str = "",
    no_data: str = "no data",
    span: int = 4,
    height: int = LOW,
) -> StatPanel:
    """Return a panel that shows one number.

    Args:
        title: the heading of the panel.
        description: what the number means and what to do about it.
        expr: an expression with one sample for each channel.
        unit: Grafana's identifier of the unit.
        bad_from: the value from which on the panel is red.
        good_from: the value from which on the panel is green; it is red below.
        value_texts: texts shown in place of values, and their colors, keyed by value.
        text_label: a label whose value is shown in place of the number.
        no_data: the text shown when there is no sample.
        span: width in columns, out of 24.
        height: LOW, or HIGH in a row of high panels.
    """
    base, steps = _GOOD, [(bad_from, _BAD)]
    if good_from is not None:
        base, steps = _BAD, [(good_from, _GOOD)]
    panel = (
        StatPanel()
        .title(title)
        .description(description)
        .datasource(_SOURCE)
        .unit(unit)
        .thresholds(_thresholds(base, steps))
        .no_value(no_data)
        .graph_mode(BigValueGraphMode.NONE)
        .color_mode(
            BigValueColorMode.BACKGROUND
            if value_texts or bad_from is not None or good_from is not None
            else BigValueColorMode.NONE
        )
        .text_mode(BigValueTextMode.NAME if text_label else BigValueTextMode.AUTO)
        .with_target(_target(expr, f"{{{{{text_label}}}}}" if text_label else "{{channel}}", "A", instant=True))
        .height(height)
        .span(span)
    )
    if value_texts:
        panel.mappings(_value_map(value_texts))
    return panel


def series(
    title: str,
    description: str,
    queries: SeriesByLegend,
    unit: str,
    *,
    limit: float | None = None,
    lowest: float | None = 0,
    highest: float | None = None,
    stacked: bool = False,
    no_data: str = "no data",
    span: int = 8,
) -> TimeSeriesPanel:
    """Return a panel that shows lines over time.

    Args:
        title: the heading of the panel.
        description: what the lines mean and what to do about them.
        queries: expressions keyed by legend.
        unit: Grafana's identifier of the unit.
        limit: the threshold of an alert, drawn as a dashed line.
        lowest: a value that the axis always includes at the bottom; None adapts it to the lines.
        highest: a value that the axis always includes at the top.
        stacked: whether the lines are stacked.
        no_data: the text shown when there is no sample.
        span: width in columns, out of 24.
    """
    panel = (
        TimeSeriesPanel()
        .title(title)
        .description(description)
        .datasource(_SOURCE)
        .unit(unit)
        .no_value(no_data)
        .line_width(1)
        .fill_opacity(25 if stacked else 8)
        .show_points(VisibilityMode.NEVER)
        .thresholds(_thresholds(_GOOD, [(limit, _BAD)]))
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(show_legend=True)
        )
        .tooltip(common_builders.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        .height(HIGH)
        .span(span)
    )
    if limit is not None:
        panel.thresholds_style(common_builders.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    if lowest is not None:
        panel.axis_soft_min(lowest)
    if highest is not None:
        panel.axis_soft_max(highest)
    if stacked:
        panel.stacking(common_builders.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    for letter, (legend, expr) in zip("ABCDEFGH", queries.items(), strict=False):
        panel.with_target(_target(expr, legend, letter))
    return panel


def dashboard(
    uid: str,
    title: str,
    description: str,
    rows: Mapping[str, Sequence[StatPanel | TimeSeriesPanel]],
) -> DashboardModel:
    """Return a dashboard with these panels, keyed by row title. Panel ids are numbered in order."""
    builder = (
        dashboard_builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .timezone("browser")
        .refresh("1m")
        .link(
            dashboard_builders.DashboardLink("Maven WeCom")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(as_dropdown=False)
            .include_vars(include_vars=True)
            .keep_time(keep_time=True)
        )
        .annotations([_restarts()])
        .variables(_variables())
    )
    number = 0
    for name, panels in rows.items():
        number += 1
        builder.with_row(dashboard_builders.Row(name).id(number))
        for panel in panels:
            number += 1
            builder.with_panel(panel.id(number))
    return builder.build()


def _variables() -> list[Builder[VariableModel]]:
    source = (
        dashboard_builders.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(VariableOption(text="default", value="default"))
    )
    chosen = {"channel": "", "job": 'channel=~"$channel"', "instance": 'channel=~"$channel", job=~"$job"'}
    return [source, *(_variable(name, matchers) for name, matchers in chosen.items())]


def _variable(name: str, matchers: str) -> Builder[VariableModel]:
    query = f"label_values(maven_wecom_build_info{{{matchers}}}, {name})".replace("{}", "")
    return (
        dashboard_builders.QueryVariable(name)
        .label(name.capitalize())
        .datasource(_SOURCE)
        .query({"query": query, "refId": name, "qryType": 1})
        .definition(query)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".+")
        .current(VariableOption(selected=True, text=["All"], value=["$__all"]))
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
    )


def _restarts() -> dashboard_builders.AnnotationQuery:
    return (
        dashboard_builders.AnnotationQuery()
        .name("Restarts")
        .datasource(_SOURCE)
        .enable(enable=True)
        .icon_color("blue")
        .target(
            _target(
                f"changes(process_start_time_seconds{{{PROCESS}}}[$__rate_interval]) > 0 {OF_SELECTED}", "", "Restarts"
            )
        )
        .title_format("Restarted")
        .text_format("{{instance}}")
    )


def _target(expr: str, legend: str, letter: str, *, instant: bool = False) -> Dataquery:
    target = Dataquery().expr(expr).legend_format(legend).ref_id(letter).datasource(_SOURCE)
    return target.instant() if instant else target.range()


def _thresholds(base: str, steps: Sequence[tuple[float | None, str]]) -> dashboard_builders.ThresholdsConfig:
    given = [Threshold(value=value, color=color) for value, color in steps if value is not None]
    return (
        dashboard_builders.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=None, color=base), *given])
    )


def _value_map(value_texts: Mapping[str, tuple[str, str]]) -> list[ValueMapping]:
    return [
        ValueMap(
            options={value: ValueMappingResult(text=text, color=color) for value, (text, color) in value_texts.items()}
        )
    ]
