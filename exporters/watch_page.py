"""The page of ``greenai watch`` and what it asks for; texts of runs never become markup."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Protocol

import greenai
from greenai.exporters.connections import Page, Request
from greenai.exporters.page import FOOTER, asset, hash_of

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator

HTML = "text/html; charset=utf-8"
EVENTS = "text/event-stream; charset=utf-8"
BODY = """<main>
<p class="brand">greenai watch</p>
<h1 id="title">greenai</h1>
<p id="status" class="subtitle" role="status" aria-live="polite">Connecting …</p>
<noscript><p>This page needs JavaScript. <code>greenai watch --terminal</code> does without.</p>
</noscript>
<fieldset id="runs" hidden><legend>Runs that are shown</legend><div id="choices"></div>
<p id="hidden" class="note"></p></fieldset>
<section id="each" aria-label="Runs"></section>
<section id="together" hidden><h2>Over time</h2>
<p class="subtitle">Since each run's start. Drag to zoom; a double click, or Escape, zooms out.</p>
<div id="charts" class="charts"></div></section>
"""


class Events(Protocol):
    """What a viewer listens to; see ``greenai.following.feed.Feed``."""

    def events(self, last_id: str, closing: threading.Event) -> Generator[bytes, None, None]:
        """Events for one viewer: what it has missed, then what comes."""


def pages_of(feed: Events) -> dict[str, Callable[[Request], Page]]:
    """Make the page and its stream of events, by path.

    Args:
        feed: What viewers listen to.

    Returns:
        What ``greenai.exporters.endpoint.listen`` serves.
    """
    return {
        "/": lambda _: _page(),
        "/events": lambda asked: Page(EVENTS, feed.events(asked.last_event_id, asked.closing)),
    }


@cache
def _page() -> Page:
    """The page itself: it is the same for all, and holds nothing of any run."""
    styles = asset("report.css") + asset("uPlot.min.css") + asset("watch.css")
    scripts = [asset("uPlot.iife.min.js"), asset("watch.js")]
    policy = "; ".join(
        (
            "default-src 'none'",
            "script-src " + " ".join(f"'sha256-{hash_of(script)}'" for script in scripts),
            f"style-src 'sha256-{hash_of(styles)}'",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta name="generator" content="greenai {greenai.__version__}">',
        '<link rel="icon" href="data:,">',
        f"<title>greenai watch</title><style>{styles}</style></head>",
        f"<body>{BODY}",
        f"<footer>{FOOTER.format(version=greenai.__version__)}</footer></main>",
        f"<!--\nuPlot:\n{asset('LICENSE-uPlot.txt')}\n-->",
        *(f"<script>{script}</script>" for script in scripts),
        "</body></html>\n",
    ]
    headers = {"Content-Security-Policy": policy, "Referrer-Policy": "no-referrer"}
    return Page(HTML, "\n".join(parts).encode(), headers)
