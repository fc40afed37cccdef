"""Laws of the pages: nothing foreign runs, nothing is fetched, no unknown reads as zero."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from greenai.exporters.comparison_html import comparison_html, write_comparison_page
from greenai.exporters.report_html import report_html, write_report

if TYPE_CHECKING:
    from pathlib import Path

SIZE_MAX = 600_000
NASTY = (
    "<script>alert(1)</script>",
    "</script><script>document.title='owned'</script>",
    "<!-- <script>",
    "-->",
    "\"' onload=alert(1) x='\"",
    "line\u2028and\u2029paragraph",
    "\x1b[2J\x00\x07\u202eevil",
    "a\ud800b",
    "&lt;b&gt;&amp;",
    "x" * 10_000,
)
VOID = {"meta", "rect", "path", "br"}


class Outline(HTMLParser):
    """Reads what a browser would: elements, their attributes, and whether they are closed."""

    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.headings: list[int] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in {"script", "style"}:
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def charts_in(markup: str) -> list[dict[str, Any]]:
    found = re.search(r'id="charts">(.*?)</script>', markup, re.DOTALL)
    assert found is not None
    charts: list[dict[str, Any]] = json.loads(found[1])
    return charts


def test_the_page_is_whole_and_its_headings_are_in_order(run: Any) -> None:
    page = Outline(report_html(run))
    assert page.open == []
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    steps = zip(page.headings, page.headings[1:], strict=False)
    assert all(after <= before + 1 for before, after in steps)


@pytest.mark.parametrize("nasty", NASTY)
def test_no_name_gets_out_of_its_text(make_run: Any, nasty: str) -> None:
    plain = Outline(report_html(make_run(notices=("notice",))))
    markup = report_html(make_run(name=nasty, variant=nasty, notices=(nasty,)))
    page = Outline(markup)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    assert markup.count("<!--") == 1
    assert len(markup) < len(report_html(make_run())) + 12_000


@pytest.mark.parametrize("nasty", NASTY)
def test_no_device_and_no_fact_gets_out_of_its_text(make_run: Any, nasty: str) -> None:
    run = make_run()
    plain = Outline(report_html(run))
    run.curves = [type(one)(nasty, one.kind, one.trust, one.t_s, one.power_w) for one in run.curves]
    run.facts["project"] = nasty
    run.record.manifest["config"] = {nasty: nasty}
    page = Outline(report_html(run))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]


def test_the_page_asks_no_network(run: Any) -> None:
    markup = report_html(run)
    page = Outline(markup)
    for _, attributes in page.elements:
        assert not {"src", "href", "srcset", "action", "data"} & set(attributes)
    assert "@import" not in markup
    assert "url(" not in markup
    (policy,) = (one["content"] for one in page.named("meta") if "http-equiv" in one)
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert policy.count("'sha256-") == 2
    assert "'unsafe-inline'" not in policy.partition("script-src")[2]


def test_the_notice_of_the_plotting_library_stays_with_it(run: Any) -> None:
    markup = report_html(run)
    assert "Copyright (c) 2022 Leon Sorokin" in markup
    assert "The MIT License" in markup


def test_every_plot_comes_as_a_drawing_with_words_for_it(run: Any) -> None:
    page = Outline(report_html(run))
    drawings = [one for one in page.named("svg") if one.get("role") == "img"]
    assert len(drawings) - 1 == len(charts_in(report_html(run))) == 6  # bars need no script
    assert all(len(one["aria-label"] or "") > 40 for one in drawings)


def test_the_page_shows_what_it_is_about(run: Any) -> None:
    text = Outline(report_html(run)).text
    for said in (
        "dense-r0",
        "5.33 kJ",
        "99.6 mg",
        "NVIDIA H200",
        "NVML energy counter",
        "not metered",
        "training steps",
        "FRA, 2023, lifecycle basis",
        "Ember 2024 <yearly> & others",
        "20.0\u00a0% modelled, 98.4\u00a0% of the run covered",
    ):
        assert said in text


def test_a_run_without_sensors_shows_no_joule(unmetered: Any) -> None:
    text = Outline(report_html(unmetered)).text
    assert not re.search(r"\b0(\.0+)? ?(m|k)?(J|Wh|g)\b", text)
    assert text.count("unknown") > 10
    assert "No power is known." in text


def test_a_hundred_thousand_steps_and_eight_gpus_fit(make_run: Any) -> None:
    markup = report_html(make_run(count=100_000, gpus=8))
    assert len(markup.encode()) <= SIZE_MAX
    for chart in charts_in(markup):
        assert all(len(one["x"]) <= 2000 for one in chart["series"])


def test_a_page_is_written_where_it_is_asked_for(run: Any, tmp_path: Path) -> None:
    write_report(run, tmp_path / "a" / "report.html")
    assert (tmp_path / "a" / "report.html").read_text(encoding="utf-8") == report_html(run)


def test_a_comparison_has_bars_tables_and_its_design(make_comparison: Any) -> None:
    markup = comparison_html(make_comparison(), "First <part>.\n\nSecond part.", ("One more.",))
    page = Outline(markup)
    assert page.open == []
    assert len([one for one in page.named("rect") if "x" in one]) == 4
    assert len([one for one in page.named("path") if one.get("class") == "whisker"]) == 4
    for said in (
        "First <part>.",
        "Second part.",
        "One more.",
        "mJ/token",
        "Time per token",
        "less",
    ):
        assert said in page.text
    assert "<script" not in markup


def test_a_comparison_without_intervals_says_so(make_comparison: Any) -> None:
    page = Outline(comparison_html(make_comparison(repeats=1)))
    assert [one for one in page.named("path") if one.get("class") == "whisker"] == []
    assert "interval unknown" in str(page.elements)
    assert "not resolved: one run each" in page.text


@pytest.mark.parametrize("nasty", NASTY)
def test_no_variant_gets_out_of_its_text(make_comparison: Any, nasty: str) -> None:
    plain = Outline(comparison_html(make_comparison(names=("moe",)), "text"))
    page = Outline(comparison_html(make_comparison(names=(nasty,)), nasty.replace("\n", "")))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]


def test_an_interval_beyond_the_plot_is_cut_with_an_arrow(
    make_comparison: Any, tmp_path: Path
) -> None:
    comparison = make_comparison(repeats=2, names=("moe",))
    wide = type(comparison.results[0])(
        **{
            **{
                name: getattr(comparison.results[0], name)
                for name in comparison.results[0].__slots__
            },
            "high": 400.0,
        }
    )
    object.__setattr__(comparison, "results", (wide,))
    write_comparison_page(comparison, tmp_path / "c.html")
    markup = (tmp_path / "c.html").read_text(encoding="utf-8")
    assert "l5 4l-5 4" in markup
    assert "400" in Outline(markup).text


def test_meters_of_the_whole_machine_stand_beside_the_sum(run: Any) -> None:
    run.facts["node_j"] = {"ipmi_dcmi": 7_250.0, "<b>": None}
    page = report_html(run)
    assert "Beside the sum: board controller (IPMI) 7.25 kJ, &lt;b&gt; unknown." in page
