"""A capacity model of bulk inspection, checked by simulation; writes the tables of docs/scale.md.

``python benchmarks/capacity.py`` reads the measured costs, simulates, and writes a results file;
``table`` writes the tables of docs/scale.md from the results; ``--check`` only compares.

The model: images come from storage over a link of so many bytes per second, workers of one core
each judge them, one driver hands out chunks. The capacity is that of the slowest of the three, less
what workers lose by sharing a machine. The simulation moves every chunk through a shared link, a
pool of workers whose times scatter, and a driver that does one thing at a time.
"""

import heapq
import json
import sys

import numpy as np

from blemish.benchmark import Result
from common import RESULTS
from results_table import ROOT, replaced

CHUNK = 256
DAY = 86_400
# Images per second, and what they are. 10^9 a day is a thousand plants.
STEPS = {
    "one line": 10,
    "one plant, 20 lines": 200,
    "ten plants": 2_000,
    "a thousand plants": 1e9 / DAY,
}
LINK = 1.25e9  # bytes/s of one link to storage: 10 Gbit/s
HEADROOM = 0.7  # share of its capacity at which a station still keeps up with bursts
PRICE = 0.04  # per core and hour; a round figure of what clouds ask, not a measurement
SCATTER = 0.2  # standard deviation of the logarithm of a chunk's time
DOC = ROOT / "docs/scale.md"


def measured():
    """Seconds per image and per chunk, bytes per image, share kept when two work side by side."""
    figures = {}
    for path in sorted(RESULTS.glob("scale_*.json")):
        figures |= json.loads(path.read_text("utf-8"))["figures"]
    return {
        "image": figures["whole_ms"]["value"] / 1000,
        "chunk": figures["chunk_ms"]["value"] / 1000,
        "bytes": figures["bytes"]["value"],
        "efficiency": min(1.0, figures["efficiency"]["value"]),
        "row": figures["row_bytes"]["value"],
    }


def limits(cost, workers, links, drivers=1):
    """Images per second that each part can carry."""
    return {
        "workers": workers * cost["efficiency"] / cost["image"],
        "storage link": links * LINK / cost["bytes"],
        "driver": drivers * CHUNK / cost["chunk"],
    }


def plan(cost, rate):
    """Cores, links and drivers for so many images per second, with headroom."""
    wanted = rate / HEADROOM
    return {
        "workers": int(np.ceil(wanted * cost["image"] / cost["efficiency"])),
        "links": int(np.ceil(wanted * cost["bytes"] / LINK)),
        "drivers": int(np.ceil(wanted * cost["chunk"] / CHUNK)),
    }


def simulated(cost, workers, links, chunks=20_000, seed=0):
    """Images per second of a run of so many chunks, event by event."""
    random = np.random.default_rng(seed)
    judging = CHUNK * cost["image"] / cost["efficiency"]
    times = judging * random.lognormal(-(SCATTER**2) / 2, SCATTER, chunks)
    free = [0.0] * workers
    heapq.heapify(free)
    link, driver, ended = [0.0] * links, 0.0, 0.0
    heapq.heapify(link)
    for time in times:
        worker = heapq.heappop(free)
        driver = max(driver, worker) + cost["chunk"]
        # The next chunk is fetched while this one is judged, so the link may run ahead.
        fetched = max(heapq.heappop(link), driver - time) + CHUNK * cost["bytes"] / LINK
        heapq.heappush(link, fetched)
        done = max(driver, fetched) + time
        heapq.heappush(free, done)
        ended = max(ended, done)
    return chunks * CHUNK / ended


def simulate():
    cost, figures = measured(), {}
    for name, rate in STEPS.items():
        needed = plan(cost, rate)
        per_driver = max(1, needed["workers"] // needed["drivers"])
        links = max(1, needed["links"] // needed["drivers"])
        found = simulated(cost, per_driver, links, chunks=40 * per_driver + 400)
        predicted = min(limits(cost, per_driver, links).values())
        figures[f"{name}: ratio"] = {
            "value": found / predicted,
            "label": f"{name}: simulated / predicted images per second",
        }
    # Each limit in turn: the model must name the right one.
    for part, changed in {
        "driver": {"chunk": 40 * cost["image"] * CHUNK / 64},
        "storage link": {"bytes": 8 * LINK * cost["image"] / 64},
    }.items():
        strained = cost | changed
        predicted = limits(strained, 64, 1)
        assert min(predicted, key=predicted.get) == part
        figures[f"{part}: ratio"] = {
            "value": simulated(strained, 64, 1) / predicted[part],
            "label": f"{part} too slow on purpose: simulated / predicted",
        }
    return Result(
        what="scale_capacity",
        command="python benchmarks/capacity.py",
        data={"name": "model"},
        figures=figures,
        seeds=(0,),
    )


def table():
    cost = measured()
    ratios = json.loads((RESULTS / "scale_capacity-model.json").read_text("utf-8"))["figures"]
    lines = [
        "| | images/s | cores | links | drivers | first bottleneck | and then | results a day | "
        "per million images | simulated / model |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rate in STEPS.items():
        needed = plan(cost, rate)
        first, second, _ = sorted(limits(cost, **needed).items(), key=lambda item: item[1])
        price = 1e6 * cost["image"] / cost["efficiency"] / HEADROOM / 3600 * PRICE
        gigabytes = rate * DAY * cost["row"] / 1e9
        lines.append(
            f"| {name} | {rate:,.0f} | {needed['workers']:,} | {needed['links']} | "
            f"{needed['drivers']} | {first[0]}, {first[1]:,.0f}/s | {second[0]}, "
            f"{second[1]:,.0f}/s | {gigabytes:,.1f} GB | {price:.2f} | "
            f"{ratios[f'{name}: ratio']['value']:.3f} |"
        )
    return "\n".join(lines)


def costs():
    """The measured figures, as they are."""
    lines = ["| figure | value | from |", "|---|---|---|"]
    for path in sorted(RESULTS.glob("scale_*.json")):
        content = json.loads(path.read_text("utf-8"))
        if content["what"] == "scale_capacity":
            continue
        for figure in content["figures"].values():
            target = f" (aim: {figure['target']})" if "target" in figure else ""
            lines.append(f"| {figure['label']}{target} | {figure['value']:.4g} | `{path.stem}` |")
    return "\n".join(lines)


def page(text):
    return replaced(replaced(text, "capacity", table()), "costs", costs())


if __name__ == "__main__":
    if sys.argv[1:] in (["table"], ["--check"]):
        text = DOC.read_text("utf-8")
        if "--check" in sys.argv:
            sys.exit(0 if page(text) == text else "docs/scale.md is stale: capacity.py table")
        DOC.write_text(page(text), "utf-8")
    else:
        print(simulate().write(RESULTS))
