"""Write the README's results table from the committed results files; --check only compares."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
COLUMNS = {
    "image AUROC": "image_auroc",
    "pixel AUROC": "pixel_auroc",
    "AUPRO": "aupro_0.30",
    "AUPRO, ≥ 5 px": "aupro_0.30_min5",
    "false alarms (5 % asked)": "false_alarm_rate",
    "misses": "miss_rate",
}


def table():
    header = ["data", "backbone", *COLUMNS, "fit", "per image"]
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for name in ("demo", "screw", "magnetic_tile"):
        for path in sorted((ROOT / "benchmarks/results").glob(f"{name}-patchcore-*.json")):
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


def main():
    readme = ROOT / "README.md"
    text = readme.read_text("utf-8")
    head, rest = text.split(BEGIN)
    wanted = f"{head}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"
    if "--check" in sys.argv:
        sys.exit(0 if wanted == text else "The README's table is stale: run `make results-table`.")
    readme.write_text(wanted, "utf-8")


if __name__ == "__main__":
    main()
