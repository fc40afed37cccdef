"""What a scrape costs: time and bytes with eight GPUs, after few and after many steps."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simulation.live_job import LiveJob

from greenai.exporters.exposition import text_of
from greenai.exporters.prometheus import registry_of

SCRAPES = 200
TARGET_MS = 5.0
TARGET_BYTES = 64_000


def main() -> None:
    """Print the table."""
    job = LiveJob(gpus=8, steps_per_s=50, reads_per_s=10)
    figures = job.serving._figures
    settled = registry_of(lambda: figures)
    asked = registry_of(job.serving.figures)
    print(f"{'steps':>8}{'text, ms':>12}{'with settling, ms':>20}{'bytes':>9}{'live.json':>11}")
    for seconds in (20, 200, 1000):
        job.run(seconds - job.steps // 50)
        figures = job.serving._figures
        text_ms = _median_ms(lambda: text_of(settled.collect()))
        whole_ms = []
        for _ in range(SCRAPES // 10):
            job.feed()
            begin_s = time.perf_counter()
            scraped = text_of(asked.collect())
            whole_ms.append(1e3 * (time.perf_counter() - begin_s))
        live = len(json.dumps(job.serving.live()))
        met = text_ms <= TARGET_MS and len(scraped) <= TARGET_BYTES
        print(
            f"{job.steps:>8}{text_ms:>12.2f}{np.median(whole_ms):>20.2f}{len(scraped):>9}{live:>11}"
            f"  {'met' if met else 'MISSED'}"
        )
    several = job.as_ranks(8)
    ranks = registry_of(lambda: several)
    text_ms, size = _median_ms(lambda: text_of(ranks.collect())), len(text_of(ranks.collect()))
    met = text_ms <= TARGET_MS and size <= TARGET_BYTES
    print(f"8 ranks of one GPU, 64 experts: {text_ms:.2f} ms, {size} bytes", end="  ")
    print("met" if met else "MISSED")


def _median_ms(scrape: object) -> float:
    spent = []
    for _ in range(SCRAPES):
        begin_s = time.perf_counter()
        scrape()  # type: ignore[operator] # a function
        spent.append(1e3 * (time.perf_counter() - begin_s))
    return float(np.quantile(spent, 0.1))


if __name__ == "__main__":
    main()
