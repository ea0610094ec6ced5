"""Write the tables of docs/generative.md from the committed results; --check only compares.

A cell without a results file is a dash, with the command that fills it.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

from blemish.reporting.heat_map import HeatMap, heat_map
from blemish.reporting.score_charts import score_histogram
from generative import PAIRS, REGIONS, SWEEP, file_of
from results_table import written
from vae_table import as_table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
PAGE = ROOT / "docs/generative.md"
COMPARED = ("ganomaly", "vae", "advae", "plain", "patchcore")
STYLE = (
    "svg{background:#fff}text{font:12px sans-serif;fill:#1c2230}.tick{fill:#596070}"
    ".grid{stroke:#e2dfd8}.axis,.rule{stroke:#596070}"
    ".tone-good,.tone-1{fill:#2a69ac}.tone-defective{fill:#c14a17}"
)
NAMES = {"plain": "autoencoder", "advae_off": "advae, terms off"}
FIGURES = ("image_auroc", "image_ap", "prevalence", "pixel_auroc", "aupro_0.30")
HEAD = ["image AUROC", "AP", "AP of a guess", "pixel AUROC", "AUPRO"]
# Other arms of these data were measured for the pages of their methods.
OTHERS = {
    ("screw", "vae"): "screw-vae-mvtec_ad_screw",
    ("screw", "plain"): "screw_plain-vae-mvtec_ad_screw",
    ("screw", "patchcore"): "screw-patchcore-mvtec_ad_screw",
    ("magnetic_tile", "vae"): "magnetic_tile-vae-magnetic_tile",
    ("magnetic_tile", "patchcore"): "magnetic_tile-patchcore-magnetic_tile",
}
OWN_SPLIT = {"screw": "mvtec_ad_screw", "magnetic_tile": "magnetic_tile"}
JUDGED = ("discriminator", "called_real", "called_real_drawn", "rests", "restarts")
DIVERGENCES = ("kl", "drawn_kl", "odd_kl", "transformer")
HINGES = ("generator_image", "generator_code", "encoder_drawn", "encoder_odd")


def read(path):
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def with_interval(figure):
    if figure is None or figure.get("value") is None:
        return "–"
    ends = f" [{figure['low']:.3f}, {figure['high']:.3f}]" if "low" in figure else ""
    return written({**figure, "value": figure["value"]}) + ends


def compared():
    lines = [["data", "method", *HEAD, "command"], ["---"] * 8]
    for region in REGIONS:
        for arm in (*COMPARED, *(["advae_off"] if region == "cathode" else [])):
            found = read(file_of(f"folds_{region}_{arm}", arm))
            name = NAMES.get(arm, arm)
            lines.append(row(f"plates, {region}", name, found, f"{region}_{arm}"))
    for data, where in OWN_SPLIT.items():
        for arm in COMPARED:
            path = file_of(f"{data}_{arm}", arm, where)
            if (data, arm) in OTHERS:
                path = RESULTS / f"{OTHERS[data, arm]}.json"
            lines.append(
                row(data.replace("_", " "), NAMES.get(arm, arm), read(path), f"{data}_{arm}")
            )
    for arm in ("ganomaly", "advae"):
        found = read(file_of(f"paper_{arm}", arm, "mvtec_ad_screw"))
        lines.append(row("screw, default options", arm, found, f"paper_{arm}"))
    return as_table(lines)


def row(data, method, found, target):
    if found is None:
        return [data, method, *["–"] * len(FIGURES), f"`generative.py {target}`"]
    command = found["command"].replace("python benchmarks/", "")
    cells = (with_interval(found["figures"].get(name)) for name in FIGURES)
    return [data, method, *cells, f"`{command}`"]


def paired():
    found = read(RESULTS / "better-battery_plate.json")
    lines = [["difference", "region", "folds", "image AUROC", "AP"], ["---"] * 5]
    for first, second in PAIRS:
        for region in REGIONS:
            figures = found["figures"] if found else {}
            keys = [f"{region}_{first}_{second}_{s}" for s in ("auroc", "average_precision")]
            if keys[0] in figures:
                cells = [signed(figures[key]) for key in keys]
                names = [NAMES.get(arm, arm) for arm in (first, second)]
                runs = [read(file_of(f"folds_{region}_{a}", a))["runs"] for a in (first, second)]
                folds = str(min(map(len, runs)))  # those that both have
                lines.append([f"{names[0]} − {names[1]}", region, folds, *cells])
    return as_table(lines) if len(lines) > 2 else "– (`generative.py better`)"


def signed(figure):
    ends = f"[{figure['low']:+.3f}, {figure['high']:+.3f}]"
    clear = figure["low"] > 0 or figure["high"] < 0
    text = f"{figure['value']:+.3f} {ends}"
    return f"**{text}**" if clear else text


def curves(region, arm, names):
    """Each curve at the first, middle and last epoch of the first run."""
    found = read(file_of(f"folds_{region}_{arm}", arm))
    lines = [["curve", "first epoch", "middle", "last", "smallest", "largest"], ["---"] * 6]
    for name in names if found else ():
        values = found["figures"][f"training_{name}_curve"]["values"]
        shown = (values[0], values[len(values) // 2], values[-1], min(values), max(values))
        lines.append([name, *(f"{v:.3g}" for v in shown)])
    return as_table(lines) if found else f"– (`generative.py {region}_{arm}`)"


def sweep():
    found = read(RESULTS / "sweep-ganomaly-battery_plate.json")
    if not found:
        return "– (`generative.py sweep`)"
    lines = [["latent \\ image size", *map(str, SWEEP["image_size"])], ["---"] * 4]
    for latent in SWEEP["latent"]:
        cells = []
        for size in SWEEP["image_size"]:
            auroc, ap = (
                found["figures"][f"{n}_{latent}_{size}"] for n in ("image_auroc", "image_ap")
            )
            cells.append(f"{auroc['value']:.3f} / {ap['value']:.3f}")
        lines.append([str(latent), *cells])
    return as_table(lines)


def draw():
    """Scores of the first fold of whole plates, and the sweep, as SVG files."""
    for arm in ("ganomaly", "vae", "advae"):
        found = read(file_of(f"folds_whole_{arm}", arm))
        if found is None:
            continue
        run = found["runs"][0]
        pairs = zip(run["scores"], run["defective"], strict=True)
        images = [SimpleNamespace(score=score, defective=bad) for score, bad in pairs]
        shown = SimpleNamespace(images=images, calibration_scores=(), threshold=run["threshold"])
        write_svg(score_histogram(shown), f"generative_{arm}")
    found = read(RESULTS / "sweep-ganomaly-battery_plate.json")
    if found:
        values = [
            [found["figures"][f"image_auroc_{la}_{size}"]["value"] for size in SWEEP["image_size"]]
            for la in SWEEP["latent"]
        ]
        names = {axis: (axis, [str(v) for v in values]) for axis, values in SWEEP.items()}
        texts = [[f"{v:.3f}" for v in row] for row in values]
        shown = HeatMap("Image AUROC", names["latent"], names["image_size"], values, texts)
        write_svg(heat_map(shown), "generative_sweep")


def write_svg(chart, name):
    """A chart with a style of its own: a page of Markdown has none for it."""
    svg = str(chart.svg).replace(">", f"><style>{STYLE}</style>", 1)
    svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    (ROOT / f"docs/pictures/{name}.svg").write_text(svg + "\n", "utf-8")


SPEED = {
    "overhead-ganomaly-battery_plate": (
        "ratio_wall",
        "ratio_processor",
        "memory_growth",
        "per_image",
    ),
    "overhead-advae-battery_plate": ("ratio_wall", "ratio_processor", "memory_growth", "per_image"),
    "training-ganomaly-battery_plate": ("epoch", "minutes", "parameters"),
}


def speed():
    lines = [["method", "what", "measured", "command"], ["---"] * 4]
    for name, figures in SPEED.items():
        found, target = read(RESULTS / f"{name}.json"), name.removesuffix("-battery_plate")
        what, method = target.replace("overhead-", "overhead_").split("-")[0], target.split("-")[1]
        command = (
            f"`generative_speed.py {target.replace('-', '_') if what == 'overhead' else what}`"
        )
        for figure in figures if found else ():
            one = found["figures"][figure]
            lines.append([method, one["label"], f"{one['value']:.4g}", command])
        if not found:
            lines.append([method, what, "–", command])
    return as_table(lines)


PARTS = {
    "speed": speed,
    "compared": compared,
    "paired": paired,
    "sweep": sweep,
    "discriminator": lambda: curves(
        "whole",
        "ganomaly",
        ("discriminator", "called_real", "called_real_drawn", "rests", "restarts"),
    ),
    "hinges": lambda: curves(
        "whole", "advae", (*HINGES, "kl", "drawn_kl", "odd_kl", "transformer")
    ),
}


def main():
    text = PAGE.read_text("utf-8")
    wanted = text
    for name, part in PARTS.items():
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        head, rest = wanted.split(begin)
        wanted = f"{head}{begin}\n{part()}\n{end}{rest.split(end)[1]}"
    if "--check" in sys.argv:
        sys.exit(0 if wanted == text else f"{PAGE} is stale: run benchmarks/generative_table.py.")
    PAGE.write_text(wanted, "utf-8")
    draw()


if __name__ == "__main__":
    main()
