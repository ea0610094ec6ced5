"""Write the README's table and docs/results.md from the results files; --check only compares."""

import json
import sys
from pathlib import Path

import leaderboard
from blemish.grid_table import Cell
from blemish.leaderboard import NOTES, Wanted, markdown, tables

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
COLUMNS = {
    "image AUROC": "image_auroc",
    "pixel AUROC": "pixel_auroc",
    "AUPRO": "aupro_0.30",
    "AUPRO, ≥ 5 px": "aupro_0.30_min5",
    "false alarms (5 % asked)": "false_alarm_rate",
    "misses": "miss_rate",
}
HIDDEN = {"weights", "preset", "seed", "device"}  # the same in all rows, or said in the text
HEAD = """# Results

Generated from the files in benchmarks/results by `make results-table`; a test fails when it is
stale. Every method has its preset `small`: what trains on two cores in minutes, not what a
paper's settings reach ([methods](methods)). Presets were not tuned on test images, with one
exception: rows on plates, which are five times as long as wide, showed that square views waste
most of their pixels, and the views of AE-XAD, ADTR, ADTR+ and L2BT have the shape of the photos
since (better for the first three, worse for L2BT's image AUROC). Magnetic tile has three times
the good images of screw, so a third of the passes (`epochs`) makes as many steps. Times are those
of a shared machine, beside other runs. A row without figures has not been measured; its command
measures it.

`python benchmarks/leaderboard.py full MVTEC` (15 categories), `full VISA` and `full BTAD` print one
command per category and method, for a machine that has the data (BLEMISH_DATA), the weights
(BLEMISH_WEIGHTS) and a GPU; piped into `sh` they fill these pages.
"""


def table():
    header = ["data", "backbone", *COLUMNS, "fit", "per image"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for name in ("demo", "screw", "magnetic_tile"):
        for path in sorted(RESULTS.glob(f"{name}-patchcore-*.json")):
            lines.append("| " + " | ".join(cells(json.loads(path.read_text("utf-8")))) + " |")
    return "\n".join(lines)


def cells(result):
    seconds, data = result["seconds"], result["data"]
    name = data["name"] + (f", {len(result['seeds'])} seeds" if len(result["seeds"]) > 1 else "")
    per_image = seconds.get("per_image")
    return [
        name,
        result["options"].get("backbone", "filter_bank"),
        *(written(result["figures"].get(key)) for key in COLUMNS.values()),
        f"{seconds['fit']:.0f} s",
        "–" if per_image is None else f"{1000 * per_image:.0f} ms",
    ]


def written(figure):
    if figure is None or figure["value"] is None:
        return "–"
    if "deviation" in figure:
        return f"{figure['value']:.3f} ± {figure['deviation']:.3f}"
    return f"{figure['value']:.3f}"


def measured():
    """What `leaderboard.py` has measured, and what other pages have with the same preset."""
    elsewhere = (RESULTS / name for _, name in leaderboard.ELSEWHERE.values())
    found = []
    for path in (*sorted(RESULTS.glob("leaderboard-*.json")), *filter(Path.exists, elsewhere)):
        content = json.loads(path.read_text("utf-8"))
        options = {k: v for k, v in content["options"].items() if k not in HIDDEN}
        name, runs = content["data"]["name"], len(content["seeds"])
        figures = {**costs(content["seconds"]), **content["figures"]}
        found.append(Cell(content["method"], name, options, runs, figures))
    return found


def costs(seconds):
    """What files of other pages say elsewhere than among their figures."""
    found = {"fit_seconds": {"value": seconds["fit"]}}
    if "per_image" in seconds:
        found["per_image_ms"] = {"value": 1000 * seconds["per_image"]}
    return found


def results_page():
    wanted = [
        Wanted(method, leaderboard.NAMES.get(data, data), leaderboard.command(method, data))
        for method, data in leaderboard.pairs()
    ]
    return "\n".join((HEAD, *NOTES, "", markdown(tables(measured(), wanted))))


def replaced(text, name, content):
    """The text with other content between its two marks."""
    begin, end = (f"<!-- {name}:{word} -->" for word in ("begin", "end"))
    head, rest = text.split(begin)
    return f"{head}{begin}\n{content}\n{end}{rest.split(end)[1]}"


def main():
    readme = ROOT / "README.md"
    text = readme.read_text("utf-8")
    wanted = {readme: replaced(text, "results", table()), ROOT / "docs/results.md": results_page()}
    for path, content in wanted.items():
        if "--check" not in sys.argv:
            path.write_text(content, "utf-8")
        elif not path.exists() or path.read_text("utf-8") != content:
            sys.exit(f"{path.name} is stale: run `make results-table`.")


if __name__ == "__main__":
    main()
