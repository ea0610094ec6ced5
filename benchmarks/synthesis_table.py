"""Write the tables of docs/synthesis.md from the committed results; --check only compares.

Intervals are of paired differences: both arms on the same test images, which are drawn with
replacement within the good and the defective ones of each seed; the mean over the seeds.
"""

import base64
import io
import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from blemish.metrics.intervals import paired_bootstrap
from blemish.metrics.ranking import Ranking

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results"
PICTURES = ROOT / "docs/pictures"
BEGIN, END = "<!-- {}:begin -->", "<!-- {}:end -->"
SEEDS = (100, 101, 102)
METHODS = {"vae": "VAE", "patchcore": "PatchCore"}
ALONE = ("rotate", "scale", "flip_across", "flip_along", "blur", "brightness", "contrast")
CHANGED = {"aligned": "`aligned`", "pixel_only": "`pixel_only`", "thesis": "`thesis`"}
GANS = {"dcgan": "DCGAN", "wgan_gp": "WGAN-GP"}
HEAD = ("method", "training images", "seeds", "image AUROC", "to photos only [95 %]")
COMMAND = "`python benchmarks/synthesis.py {}`"


def figures(what, method, data="battery_plate"):
    path = RESULTS / f"{what}-{method}-{data}.json"
    return json.loads(path.read_text("utf-8"))["figures"] if path.exists() else {}


def scored(what, method, arm, data="battery_plate"):
    """Scores and truth of the test images of one arm, or None."""
    found = figures(what, method, data)
    if f"{arm}/scores" not in found:
        return None
    return np.array(found[f"{arm}/scores"]["values"]), np.array(found["truth"]["values"], bool)


def mean_auroc(runs):
    return float(np.mean([Ranking.of(s, t).auroc(np.ones(len(s), np.int32)) for s, t in runs]))


def difference(arm, base):
    """Paired difference of the mean AUROC over seeds, as ``+0.012 [-0.003, +0.030]``."""
    truth = np.concatenate([t for _, t in base])
    ends = np.cumsum([0, *(len(t) for _, t in base)])
    strata = truth + 2 * np.repeat(np.arange(len(base)), np.diff(ends))

    def statistic(runs):
        rankings = [Ranking.of(s, t) for s, t in runs]
        return lambda weights: float(
            np.mean(
                [
                    ranking.auroc(weights[a:b])
                    for ranking, a, b in zip(rankings, ends, ends[1:], strict=False)
                ]
            )
        )

    names = [str(n) for n in range(len(truth))]
    found = paired_bootstrap(statistic(arm), statistic(base), names, strata, seed=0)
    clear = "" if found.low <= 0 <= found.high else " *"
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]{clear}"


def row(name, label, method, arms, bases, data="battery_plate"):
    """One line of a table: `arms` and `bases` are (file, arm) of each seed."""
    pairs = [
        (scored(arm[0], method, arm[1], data), scored(base[0], method, base[1], data))
        for arm, base in zip(arms, bases, strict=True)
    ]
    known = [(arm, base) for arm, base in pairs if arm is not None and base is not None]
    if not known:
        return [name, label, "–", "–", COMMAND.format(arms[0][0])]
    ours, theirs = [arm for arm, _ in known], [base for _, base in known]
    shown = "" if arms == bases else difference(ours, theirs)
    return [name, label, str(len(known)), f"{mean_auroc(ours):.3f}", shown]


def of_seeds(what, arm):
    return [(f"{what}_{seed}", arm) for seed in SEEDS]


def enlarging():
    lines = [[*HEAD], ["---"] * 5]
    for method, name in METHODS.items():
        none = of_seeds("changed", "none")
        lines.append(row(name, "photos only", method, none, none))
        for arm, label in CHANGED.items():
            lines.append(row(name, label, method, of_seeds("changed", arm), none))
        for gan, label in GANS.items():
            lines.append(row(name, f"+ {label}", method, of_seeds(gan, f"plus_{gan}"), none))
            lines.append(row(name, f"{label} only", method, of_seeds(gan, f"only_{gan}"), none))
    once = {
        "GANomaly": ("ganomaly", "changed_ganomaly", CHANGED, "battery_plate"),
        "VAE, magnetic tile": ("vae", "tiles", {"aligned": "`aligned`"}, "magnetic_tile"),
    }
    for name, (method, what, arms, data) in once.items():
        none = [(what, "none")]
        lines.append(row(name, "photos only", method, none, none, data))
        for arm, label in arms.items():
            lines.append(row(name, label, method, [(what, arm)], none, data))
    return lines


def alone():
    lines = [[*HEAD], ["---"] * 5]
    base = [("changed_100", "none")]
    for name in ALONE:
        arm = f"thesis:{name}"
        lines.append(row("VAE", f"`{arm}`", "vae", [("alone", arm)], base))
    return lines


def source():
    lines = [
        ["training images", "updates", "image AUROC", "to photos, equal epochs [95 %]"],
        ["---"] * 4,
    ]
    base = [("source", "photos")]
    arms = {
        "photos": (base, "75"),
        "10,000 changed copies (`thesis`)": ([("source", "copies")], "7,575"),
        "photos, as many updates": ([("source_updates", "photos_as_many_updates")], "7,575"),
    }
    for label, (place, updates) in arms.items():
        _, _, _, value, shown = row("VAE", label, "vae", place, base)
        lines.append([label, updates, value, shown])
    return lines


def quality():
    lines = [
        ["GAN", "seed", "fit for use", "distance, drawn", "accepted", "held-out photos"],
        ["---"] * 6,
    ]
    for gan, label in GANS.items():
        for seed in SEEDS:
            found = figures(f"{gan}_{seed}", "vae")
            cells = [cell(found.get(f"{gan}/acceptance"), percent=True)]
            for name in ("drawn", "accepted", "held_out_photos"):
                cells.append(cell(found.get(f"{gan}/distance_{name}")))
            lines.append([label, str(seed), *cells])
    return lines


def speed():
    lines = [["GAN, preset", "2 cores", "GPU"], ["---"] * 3]
    for gan, label in GANS.items():
        for preset in ("small", "thesis"):
            cells = []
            for device in ("cpu", "cuda"):
                path = RESULTS / f"gan_speed_{device}-battery_plate.json"
                found = json.loads(path.read_text("utf-8"))["figures"] if path.exists() else {}
                figure = found.get(f"{gan}/{preset}")
                cells.append("–" if figure is None else f"{figure['value']:,.1f} images/s")
            lines.append([f"{label}, `{preset}`", *cells])
    return lines


def cell(figure, percent=False):
    if figure is None:
        return "–"
    if percent:
        return f"{figure['value']:.0%}"
    return f"{figure['value']:.3g} ± {figure['deviation']:.2g}"


def as_table(lines):
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def unpack_sheets():
    """Sheets of pictures, which come as text beside the results, become pictures of the page."""
    for path in RESULTS.glob("sheet-*.json"):
        png = base64.b64decode(json.loads(path.read_text("utf-8"))["png"])
        name = path.stem.removeprefix("sheet-")
        Image.open(io.BytesIO(png)).convert("RGB").save(
            PICTURES / f"synthesis-{name}.jpg", quality=80
        )
        path.unlink()


def pictures():
    shown = [
        f"{label}:\n\n![{label}](pictures/synthesis-{name}.jpg)"
        for name, label in SHEETS.items()
        if (PICTURES / f"synthesis-{name}.jpg").exists()
    ]
    return "\n\n".join(shown) or "No pictures yet: `python benchmarks/synthesis.py wgan_gp_100`."


TABLES = {
    "enlarging": enlarging,
    "alone": alone,
    "source": source,
    "quality": quality,
    "speed": speed,
}
SHEETS = {
    "photos": "Cathodes that the GANs learned from",
    "wgan_gp": "WGAN-GP, fit for use",
    "wgan_gp_left_out": "WGAN-GP, left out",
    "dcgan": "DCGAN, fit for use",
    "dcgan_left_out": "DCGAN, left out",
}


def main():
    page = ROOT / "docs/synthesis.md"
    text = wanted = page.read_text("utf-8")
    if "--check" not in sys.argv:
        unpack_sheets()
    parts = {name: as_table(make()) for name, make in TABLES.items()} | {"pictures": pictures()}
    for name, part in parts.items():
        begin, end = BEGIN.format(name), END.format(name)
        head, rest = wanted.split(begin)
        wanted = f"{head}{begin}\n{part}\n{end}{rest.split(end)[1]}"
    if "--check" in sys.argv:
        sys.exit(0 if wanted == text else f"{page} is stale: benchmarks/synthesis_table.py.")
    page.write_text(wanted, "utf-8")


if __name__ == "__main__":
    main()
