"""Laws of the comparison page that only a browser can check, wide and narrow."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from greenai.exporters.comparison_html import comparison_html

if TYPE_CHECKING:
    from pathlib import Path

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="chromium is not installed: no page was opened"),
]

PROBE = """<script>
addEventListener('load', () => {
  const said = {
    page_px: document.documentElement.scrollWidth,
    window_px: innerWidth,
    figures: [...document.querySelectorAll('figure')].map((one) => {
      const svg = one.querySelector('svg').getBoundingClientRect();
      return {id: one.id, wide: svg.width, tall: svg.height};
    }),
    outside: [...document.querySelectorAll('figure > svg *')].filter((part) => {
      const box = part.getBoundingClientRect();
      const whole = part.closest('svg').getBoundingClientRect();
      return box.width > 0 && (box.left < whole.left - 2 || box.right > whole.right + 2
        || box.top < whole.top - 2 || box.bottom > whole.bottom + 2);
    }).map((part) => part.outerHTML),
  };
  document.title = JSON.stringify(said);
});
</script>"""
"""Measures the page from inside; the page itself has no script, so its policy is taken away."""


def measured(markup: str, folder: Path, wide_px: int) -> tuple[dict[str, Any], str]:
    """What a browser makes of the page in a frame of some width, and what it complains of."""
    bare = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", markup)
    (folder / "page.html").write_text(bare.replace("</head>", f"{PROBE}</head>"), encoding="utf-8")
    # In a frame, since a window of its own has a least width.
    (folder / "frame.html").write_text(
        f'<iframe src="page.html" style="width:{wide_px}px;height:900px;border:0"></iframe>'
        "<script>addEventListener('load', () => { document.body.dataset.said = "
        "document.querySelector('iframe').contentDocument.title; });</script>"
    )
    answer = subprocess.run(
        [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--allow-file-access-from-files",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=3000",
            "--dump-dom",
            (folder / "frame.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={"HOME": str(folder), "PATH": "/usr/bin:/bin"},
    )
    found = re.search(r'data-said="([^"]*)"', answer.stdout)
    assert found is not None, answer.stdout[-500:]
    complaints = "\n".join(line for line in answer.stderr.splitlines() if ":CONSOLE" in line)
    said = found[1].replace("&quot;", '"').replace("&lt;", "<").replace("&gt;", ">")
    return json.loads(said.replace("&amp;", "&")), complaints


@pytest.mark.parametrize("wide_px", [1100, 390])
def test_nothing_is_cut_off_and_nothing_lies_outside_its_figure(
    make_comparison: Any, make_lens: Any, tmp_path: Path, wide_px: int
) -> None:
    markup = comparison_html(make_comparison(), "Made here.", lens=make_lens(sequences=(256, 512)))
    said, complaints = measured(markup, tmp_path, wide_px)
    assert complaints == ""
    assert said["window_px"] == wide_px
    assert said["page_px"] <= wide_px  # the page itself never scrolls sideways
    assert said["outside"] == []
    assert len(said["figures"]) == 5
    for figure in said["figures"]:
        assert figure["tall"] > 50
        assert figure["wide"] >= 600  # a plot that is narrower cannot be read: it scrolls


def test_hostile_names_open_without_a_complaint(
    make_comparison: Any, make_lens: Any, tmp_path: Path
) -> None:
    nasty = "moe</svg><script>document.title='owned'</script><img src=x onerror=alert(1)>"
    markup = comparison_html(make_comparison(names=(nasty,)), lens=make_lens(names=(nasty,)))
    said, complaints = measured(markup, tmp_path, 1100)
    assert complaints == ""
    assert len(said["figures"]) == 4
