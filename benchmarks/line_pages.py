"""Table and chart of the simulated line in docs/station.md, from the results files."""

import json
import re
from pathlib import Path

import numpy as np

from common import RESULTS
from line_data import DAYS, LINES, MOVED_ON

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- line:begin -->", "<!-- line:end -->"
SEEDS = (200, 201, 202)
ARMS = {"without": "#b3541e", "with": "#1f6f8b"}
WIDTH, HEIGHT, LEFT, TOP, GAP = 640, 150, 46, 26, 44
STYLE = "font:12px sans-serif;fill:#667"


def results(name):
    """Those of the seeds that were run."""
    paths = [RESULTS / f"line_{seed}-station-{LINES[name].name}.json" for seed in SEEDS]
    return [json.loads(path.read_text("utf-8")) for path in paths if path.exists()]


def table():
    """One line of Markdown per line and seed; with its command where nothing was measured."""
    head = ["line", "seed", "days", "misses without", "with", "false alarms without", "with",
            "misses without, same rate (oracle)", "promoted on day"]  # fmt: skip
    lines = [head, ["---"] * len(head)]
    for name in LINES:
        found = {result["seeds"][0]: result["figures"] for result in results(name)}
        for seed in SEEDS:
            lines.append([name, str(seed), *cells(found.get(seed), f"{name} {seed}")])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cells(figures, command):
    if figures is None:
        return [*["–"] * 6, f"`station_line.py {command}`"]
    keys = ["misses_without", "misses_with", "false_alarms_without", "false_alarms_with"]
    totals = [figures["defective"]["value"]] * 2 + [figures["good"]["value"]] * 2
    shares = [f"{figures[k]['value']} of {n}" for k, n in zip(keys, totals, strict=True)]
    days = ", ".join(str(day) for day in figures["promoted"]["values"]) or "never"
    lasted = str(len(figures["misses_with"]["values"]))
    return [lasted, *shares, str(figures["misses_without_same_rate"]["value"]), days]


def write_pages():
    """Put the chart and the tables between their marks in docs/station.md."""
    found = [f"{table()}\n\n{endurance()}"]
    runs = [r for r in results("plates") if len(r["figures"]["misses_with"]["values"]) == DAYS]
    if runs:
        write_chart(runs)
        found.insert(0, "![Misses and false alarms per day](station/line.svg)\n")
    page = DOCS / "station.md"
    head, rest = page.read_text("utf-8").split(BEGIN)
    middle = "\n".join(found)
    page.write_text(f"{head}{BEGIN}\n{middle}\n{END}{rest.split(END)[1]}", "utf-8")


def endurance():
    """What tests/station measured with BLEMISH_RESULTS: kills, load, pages, reviews."""
    lines = ["| measured | value | |", "|---|---|---|"]
    for path in sorted(RESULTS.glob("station_*.json")):
        result = json.loads(path.read_text("utf-8"))
        for figure in result["figures"].values():
            lines.append(f"| `{result['what']}` | {figure['value']:.3g} | {figure['label']} |")
    return "\n".join(lines)


def write_chart(runs):
    """Misses and false alarms per day on plates, means of the seeds."""
    parts = [panel(0, "Misses per day", runs, "misses", "defective")]
    parts.append(panel(1, "False alarms per day", runs, "false_alarms", "good"))
    height = 2 * (HEIGHT + GAP) + TOP
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">'
    (DOCS / "station/line.svg").write_text(svg + "".join(parts) + "</svg>\n", "utf-8")


def panel(number, title, runs, what, of):
    """One chart: both arms over the days."""
    days = {arm: mean_by_day(runs, f"{what}_{arm}") for arm in ARMS}
    count = len(next(iter(days.values())))
    top = TOP + number * (HEIGHT + GAP)
    highest = max(1.0, *(max(values) for values in days.values())) * 1.1

    def place(day, value):
        x = LEFT + (day - 1) / (count - 1) * (WIDTH - LEFT - 90)
        return f"{x:.1f},{top + HEIGHT * (1 - value / highest):.1f}"

    each = runs[0]["figures"][of]["value"] // count
    found = [text(LEFT, top - 10, f"{title}, of {each}; mean of {len(runs)} seeds")]
    for value in (0, highest / 2, highest):
        y = place(1, value).split(",")[1]
        found.append(f'<path d="M{LEFT} {y}H{WIDTH - 90}" stroke="#8884"/>')
        found.append(text(LEFT - 6, float(y) + 4, f"{value:.1f}", "end"))
    for day in (1, 5, 10, 15, MOVED_ON, count):
        x = float(place(day, 0).split(",")[0])
        found.append(text(x, top + HEIGHT + 16, f"day {day}" if day == 1 else str(day), "middle"))
    for arm, values in days.items():
        points = " ".join(place(day, value) for day, value in enumerate(values, 1))
        line = f'fill="none" stroke="{ARMS[arm]}" stroke-width="2"'
        found.append(f'<polyline points="{points}" {line}/>')
        x, y = points.split()[-1].split(",")
        found.append(text(float(x) + 6, float(y) + 4, arm))
    return "".join(found)


def mean_by_day(runs, key):
    return np.mean([run["figures"][key]["values"] for run in runs], axis=0)


def text(x, y, words, anchor="start"):
    assert re.fullmatch(r"[\w .,;]+", words), words  # nothing to escape
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{STYLE}">{words}</text>'
