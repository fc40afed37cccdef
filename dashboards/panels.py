"""The words that the dashboards are written in: the only place that knows Grafana's SDK.

Classic dashboards (schema 42 of grafana-foundation-sdk 0.0.21): importable by hand, by file
provisioning and by the API.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import bargauge, heatmap, stat, table, timeseries, xychart
from grafana_foundation_sdk.builders import common as parts
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus as prom
from grafana_foundation_sdk.models import common, dashboard
from grafana_foundation_sdk.models import heatmap as heat_model
from grafana_foundation_sdk.models import xychart as xy_model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grafana_foundation_sdk.cog.builder import Builder

    Panel = Builder[dashboard.Panel]

SOURCE = common.DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, RED = "green", "yellow", "red"
UNKNOWN = "unknown"
"""What stands where there is no sample: never 0."""


@dataclasses.dataclass(frozen=True)
class Query:
    """One expression of a panel.

    Attributes:
        expr: PromQL.
        legend: Name of its series; ``{{label}}`` is filled in.
        unit: Of its own axis on the right; empty for the panel's.
        dashed: Whether it is drawn as what is not measured.
    """

    expr: str
    legend: str = ""
    unit: str = ""
    dashed: bool = False


@dataclasses.dataclass(frozen=True)
class Column:
    """One column of a table: an expression, its heading and its unit."""

    expr: str
    name: str
    unit: str = "short"


def number(
    title: str,
    description: str,
    unit: str,
    expr: str,
    *,
    span: int = 4,
    height: int = 4,
    levels: Sequence[tuple[float, str]] = (),
    nan: str = UNKNOWN,
) -> Panel:
    """One number; ``levels`` are the values from which on it has another colour than green."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .span(span)
        .height(height)
        .no_value(UNKNOWN)
        .mappings([_not_a_number(nan)])
        .thresholds(_thresholds(levels))
        .color_mode(common.BigValueColorMode.VALUE)
        .graph_mode(common.BigValueGraphMode.NONE)
        .reduce_options(parts.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .with_target(_instant(expr, "A"))
    )


def curves(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    *,
    span: int = 12,
    height: int = 8,
    stacked: bool = False,
    low: float | None = 0,
    high: float | None = None,
) -> Panel:
    """Curves over time, stacked where their sum means something."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .span(span)
        .height(height)
        .line_width(1)
        .fill_opacity(30 if stacked else 5)
        .show_points(common.VisibilityMode.NEVER)
        .stacking(
            parts.StackingConfig()
            .mode(common.StackingMode.NORMAL if stacked else common.StackingMode.NONE)
            .group("A")
        )
        .legend(_legend(["lastNotNull", "mean", "max"]))
        .tooltip(_tooltip())
    )
    if low is not None:
        panel = panel.min(low)
    if high is not None:
        panel = panel.max(high)
    for ref, query in zip("ABCDEFGH", queries, strict=False):
        panel = panel.with_target(_range(query.expr, ref, query.legend))
        own: list[tuple[str, object]] = []
        if query.unit:
            own += [("unit", query.unit), ("custom.axisPlacement", "right")]
        if query.dashed:
            own += [("custom.lineStyle", {"fill": "dash", "dash": [8, 8]})]
            own += [("custom.fillOpacity", 0)]
        if own:
            panel = panel.override_by_query(ref, _properties(own))
    return panel


def heat(title: str, description: str, unit: str, expr: str, *, span: int = 12) -> Panel:
    """How a histogram's buckets fill over time; ``expr`` gives rates by ``le``."""
    query = _range(expr, "A", "{{le}}").format(PromQueryFormat.HEATMAP)
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("ops")
        .span(span)
        .height(8)
        .calculate(False)
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heat_model.HeatmapColorMode.SCHEME)
            .scheme("Greens")
            .steps(64)
        )
        .cell_gap(1)
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .with_target(query)
    )


def bars(
    title: str,
    description: str,
    unit: str,
    query: Query,
    *,
    span: int = 8,
    levels: Sequence[tuple[float, str]] = (),
    low: float | None = 0,
) -> Panel:
    """One bar a series."""
    panel = (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .span(span)
        .height(8)
        .no_value(UNKNOWN)
        .thresholds(_thresholds(levels))
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .reduce_options(parts.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        .with_target(_instant(query.expr, "A", query.legend))
    )
    return panel if low is None else panel.min(low)


def listing(
    title: str,
    description: str,
    keys: Mapping[str, str],
    columns: Sequence[Column],
    *,
    span: int = 24,
    height: int = 8,
    sort_by: str = "",
    link: str = "",
) -> Panel:
    """A table: a row for each set of labels, a column for each expression.

    Args:
        title: Of the panel.
        description: What it says, and what not.
        keys: Headings of the labels, by label.
        columns: At least two: one alone would get another name from Grafana.
        span: Columns of the grid, of 24.
        height: Rows of the grid.
        sort_by: Heading of the column whose largest values come first.
        link: Heading of the column that leads to the dashboard of that run.
    """
    refs = dict(zip("ABCDEFGH", columns, strict=False))
    panel = (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit("short")
        .span(span)
        .height(height)
        .no_value(UNKNOWN)
        .mappings([_not_a_number(UNKNOWN)])
        .thresholds(_thresholds(()))
        .filterable(True)
        .with_transformation(_transformation("merge", {}))
        .with_transformation(
            _transformation(
                "organize",
                {
                    "excludeByName": {"Time": True},
                    "indexByName": {
                        name: place
                        for place, name in enumerate([*keys, *(f"Value #{ref}" for ref in refs)])
                    },
                    "renameByName": {
                        **keys,
                        **{f"Value #{ref}": column.name for ref, column in refs.items()},
                    },
                },
            )
        )
    )
    for ref, column in refs.items():
        query = _instant(column.expr, ref).format(PromQueryFormat.TABLE)
        panel = panel.with_target(query)
        panel = panel.override_by_name(column.name, _properties([("unit", column.unit)]))
    if sort_by:
        panel = panel.sort_by([parts.TableSortByFieldState().display_name(sort_by).desc(True)])
    if link:
        url = "/d/greenai-run?${datasource:queryparam}&var-run=${__value.raw}&${__url_time_range}"
        own = {"title": "This run", "url": url}
        panel = panel.override_by_name(link, _properties([("links", [own])]))
    return panel


def against(
    title: str,
    description: str,
    across: Column,
    up: Column,
    *,
    span: int = 12,
) -> Panel:
    """One quantity against another, a line for each run; both are sampled together.

    Grafana joins the two queries by time and labels, parts the rows by variant and run, and draws
    each part's first number across and its second upwards.
    """
    panel = (
        xychart.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(up.unit)
        .span(span)
        .height(10)
        .mapping(xy_model.SeriesMapping.AUTO)
        .show(xy_model.XYShowMode.LINES)
        .line_width(2)
        .legend(_legend([]))
        .tooltip(parts.VizTooltipOptions().mode(common.TooltipDisplayMode.SINGLE))
        .axis_label(up.name)
        .override_by_name(
            "Value #A", _properties([("unit", across.unit), ("custom.axisLabel", across.name)])
        )
        .with_transformation(_transformation("merge", {}))
        .with_transformation(
            _transformation(
                "partitionByValues",
                {"fields": ["variant", "run"], "naming": {"asLabels": False}},
            )
        )
    )
    for ref, column in (("A", across), ("B", up)):
        panel = panel.with_target(_range(column.expr, ref, "").format(PromQueryFormat.TABLE))
    return panel


def _instant(expr: str, ref: str, legend: str = "") -> prom.Dataquery:
    query = prom.Dataquery().datasource(SOURCE).expr(expr).legend_format(legend or "__auto")
    return query.ref_id(ref).instant()


def _range(expr: str, ref: str, legend: str) -> prom.Dataquery:
    query = prom.Dataquery().datasource(SOURCE).expr(expr).legend_format(legend or "__auto")
    return query.ref_id(ref).range()


def _properties(pairs: Sequence[tuple[str, object]]) -> list[dashboard.DynamicConfigValue]:
    return [dashboard.DynamicConfigValue(id_val=name, value=value) for name, value in pairs]


def _transformation(name: str, options: dict[str, object]) -> dashboard.DataTransformerConfig:
    return dashboard.DataTransformerConfig(id_val=name, options=options)


def _thresholds(levels: Sequence[tuple[float, str]]) -> build.ThresholdsConfig:
    steps = [dashboard.Threshold(value=None, color=GREEN)]
    steps += [dashboard.Threshold(value=value, color=color) for value, color in levels]
    return build.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def _not_a_number(text: str) -> dashboard.ValueMapping:
    return dashboard.SpecialValueMap(
        options=dashboard.DashboardSpecialValueMapOptions(
            match=dashboard.SpecialValueMatch.NULL_AND_NAN,
            result=dashboard.ValueMappingResult(text=text, index=0),
        )
    )


def _legend(calcs: list[str]) -> parts.VizLegendOptions:
    mode = common.LegendDisplayMode.TABLE if calcs else common.LegendDisplayMode.LIST
    legend = parts.VizLegendOptions().display_mode(mode).show_legend(True)
    return legend.placement(common.LegendPlacement.BOTTOM).calcs(calcs)


def _tooltip() -> parts.VizTooltipOptions:
    tooltip = parts.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    return tooltip.sort(common.SortOrder.DESCENDING)
