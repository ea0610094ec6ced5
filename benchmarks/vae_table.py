"""Write the tables of docs/methods/vae.md from the committed results; --check only compares."""

import json
import sys
from pathlib import Path

from results_table import written

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
FIGURES = ("image_auroc", "image_ap", "pixel_auroc", "aupro_0.30")
KINDS = ("dent", "missing", "scratch", "stain")
DATA = {
    "plates, whole": ("whole", "battery_plate", "demo"),
    "plates, anode": ("anode", "battery_plate", "anode_patchcore"),
    "plates, cathode": ("cathode", "battery_plate", "cathode_patchcore"),
    "screw": ("screw", "mvtec_ad_screw", "screw"),
    "magnetic tile": ("magnetic_tile", "magnetic_tile", "magnetic_tile"),
}


def methods():
    """(data, method, target, file) of every row."""
    for data, (what, where, other) in DATA.items():
        yield data, "vae", what, RESULTS / f"{what}-vae-{where}.json"
        plain = f"{what}_plain"
        yield data, "vae, `variational=false`", plain, RESULTS / f"{plain}-vae-{where}.json"
        yield data, "patchcore", other, RESULTS / f"{other}-patchcore-{where}.json"


def figures_table():
    head = ["data", "method", "seeds", "image AUROC", "AP", "pixel AUROC", "AUPRO", "active"]
    lines = [[*head, "command"], ["---"] * 9]
    for data, method, target, path in methods():
        if not path.exists():
            lines.append([data, method, *["–"] * 6, f"`vae.py {target}`"])
            continue
        result = json.loads(path.read_text("utf-8"))
        figures, active = result["figures"], result["figures"].get("active_units")
        if result["options"].get("backbone"):
            method += f", {result['options']['backbone']}"
        share = f"{active['value']:.0%}" if active else ""
        cells = [str(len(result["seeds"])), *(written(figures.get(k)) for k in FIGURES), share]
        command = result["command"].removeprefix("python benchmarks/")
        lines.append([data, method, *cells, f"`{command}`"])
    return as_table(lines)


def kinds_table():
    lines = [["image AUROC by defect", *KINDS], ["---"] * 5]
    for data, method, _, path in methods():
        figures = json.loads(path.read_text("utf-8"))["figures"] if path.exists() else {}
        names = [f"image_auroc_{kind}" for kind in KINDS]
        if all(name in figures for name in names):
            lines.append([f"{data}, {method}", *(written(figures[name]) for name in names)])
    return as_table(lines)


def as_table(lines):
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main():
    page = ROOT / "docs/methods/vae.md"
    text = page.read_text("utf-8")
    head, rest = text.split(BEGIN)
    tables = f"{figures_table()}\n\n{kinds_table()}"
    wanted = f"{head}{BEGIN}\n{tables}\n{END}{rest.split(END)[1]}"
    if "--check" in sys.argv:
        sys.exit(0 if wanted == text else f"{page} is stale: run python benchmarks/vae_table.py.")
    page.write_text(wanted, "utf-8")


if __name__ == "__main__":
    main()
