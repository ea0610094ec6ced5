"""Write the tables of docs/methods/masked_autoencoder.md; --check only compares."""

import json
import statistics
import sys
from pathlib import Path

from results_table import written

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
FIGURES = {
    "image AUROC": "image_auroc",
    "AP": "image_ap",
    "pixel AUROC": "pixel_auroc",
    "AUPRO": "aupro_0.30",
    "F1": "image_f1",
    "F1, all flagged": "f1_flag_everything",
}
SCRIPT = "masked_autoencoder.py"
ROWS = (
    ("screw", "masked_autoencoder", "screw-masked_autoencoder-mvtec_ad_screw", SCRIPT),
    ("screw", "`original`", "original-masked_autoencoder-mvtec_ad_screw", SCRIPT),
    ("screw", "`small`", "small_screw-masked_autoencoder-mvtec_ad_screw", SCRIPT),
    ("screw", "vae, `small`", "screw-vae-mvtec_ad_screw", "vae.py"),
    ("screw", "patchcore", "screw-patchcore-mvtec_ad_screw", "run.py"),
    ("magnetic tile", "masked_autoencoder", "tile-masked_autoencoder-magnetic_tile", SCRIPT),
    ("magnetic tile", "`small`", "small_tile-masked_autoencoder-magnetic_tile", SCRIPT),
    ("magnetic tile", "vae, `small`", "magnetic_tile-vae-magnetic_tile", "vae.py"),
    ("magnetic tile", "patchcore", "magnetic_tile-patchcore-magnetic_tile", "run.py"),
)
ARMS = (
    "all",
    "random masks",
    "LayerNorm",
    "last level only",
    "nothing hidden in judging",
    "learned positions only",
    "waves only",
)
BACKBONES = ("own encoder", "random weights", "filter bank")


def read(name):
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def results_table():
    lines = [["data", "method", *FIGURES, "fit", "command"]]
    for data, method, name, script in ROWS:
        result, target = read(name), name.partition("-")[0]
        figures = result["figures"] if result else {}
        fit = f"{result['seconds']['fit']:.0f} s" if result else "–"
        cells = [written(figures.get(key)) for key in FIGURES.values()]
        lines.append([data, method, *cells, fit, f"`{script} {target}`"])
    return as_table(lines)


def ablation_table():
    """Means over the seeds that were run, and how often the whole method was ahead."""
    found = [json.loads(p.read_text("utf-8")) for p in sorted(RESULTS.glob("ablation_*-masked*"))]
    keys = ("image_auroc", "image_ap", "pixel_auroc", "aupro_0.30")
    lines = [["in its place", *list(FIGURES)[:4], "training, s", "seeds where `all` leads"]]
    for arm in ARMS:
        runs = [r for r in found if f"image_auroc, {arm}" in r["figures"]]
        if not runs:
            lines.append([arm, *["–"] * 4, "–", f"`{SCRIPT} ablation_0`"])
            continue
        cells = [spread([r["figures"][f"{key}, {arm}"]["value"] for r in runs]) for key in keys]
        fit = statistics.median(r["seconds"][arm] for r in runs)
        ahead = sum(auroc(r, "all") > auroc(r, arm) for r in runs)
        won = "" if arm == "all" else f"{ahead} of {len(runs)}"
        lines.append([arm, *cells, f"{fit:.0f}", won])
    return as_table(lines)


def auroc(result, arm):
    return result["figures"][f"image_auroc, {arm}"]["value"]


def spread(values):
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{deviation}"


def backbone_table():
    result = read("backbone-patchcore-mvtec_ad_screw")
    keys = list(FIGURES.items())[:4]
    lines = [["PatchCore on", *(name for name, _ in keys), "command"]]
    for arm in BACKBONES:
        figures = result["figures"] if result else {}
        cells = [written(figures.get(f"{key}, {arm}")) for _, key in keys]
        lines.append([arm, *cells, f"`{SCRIPT} backbone`"])
    other = read("screw-patchcore-mvtec_ad_screw")["figures"]
    cells = [written(other.get(key)) for _, key in keys]
    lines.append(["mobilenetv1_100, ImageNet", *cells, "`run.py screw`"])
    return as_table(lines)


def speed_table():
    result = read("speed-masked_autoencoder-noise")
    lines = [["speed, default sizes", "value", "wanted"]]
    if result is None:
        return as_table([*lines, [f"`{SCRIPT} speed`", "–", "–"]])
    for figure in result["figures"].values():
        lines.append([figure["label"], f"{figure['value']:.3g}", figure.get("target", "")])
    return as_table(lines)


def as_table(lines):
    lines = [lines[0], ["---"] * len(lines[0]), *lines[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


TABLES = {
    "results": results_table,
    "ablation": ablation_table,
    "backbone": backbone_table,
    "speed": speed_table,
}


def main():
    page = ROOT / "docs/methods/masked_autoencoder.md"
    text = wanted = page.read_text("utf-8")
    for name, make in TABLES.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        head, rest = wanted.split(begin)
        wanted = f"{head}{begin}\n{make()}\n{end}{rest.split(end)[1]}"
    if "--check" in sys.argv:
        command = "python benchmarks/masked_autoencoder_table.py"
        sys.exit(0 if wanted == text else f"{page} is stale: run {command}.")
    page.write_text(wanted, "utf-8")


if __name__ == "__main__":
    main()
