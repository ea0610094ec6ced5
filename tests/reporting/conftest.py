"""A drawn evaluation that looks like a real one: plates with scratches, maps, curves, cards."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import betaincinv

from blemish.evaluation import Evaluation, Example, ImageResult
from blemish.metrics.figure import Figure
from blemish.types import Image, Mask, Prediction, Region

THRESHOLD, PIXEL_THRESHOLD = 4.2, 0.42
KINDS = ("scratch", "dent", "stain")
HOSTILE = (
    '<script>alert("x")</script>',
    '"><img src=x onerror=alert(1)>.png',
    "line\nbreak\r\tand \u202egnp.exe",
    '=HYPERLINK("http://example.invalid")',
    "שלום.png",
    "lone \udcff surrogate & 'quotes' {{ 7 * 7 }}",
)


def draw_part(shape: tuple[int, int], rng: np.random.Generator) -> Image:
    """A plate of three metal-like regions with uneven light and grain."""
    height, width = shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    along = y / max(height, 1)
    base = np.where(along < 0.42, 0.62, np.where(along < 0.55, 0.3, 0.5))
    light = 1 + 0.15 * np.sin(2.5 * x / max(width, 1) + rng.uniform(0, 3))
    tint = np.array([1.0, 0.96, 0.88]) if rng.uniform() < 0.5 else np.array([0.95, 1.0, 1.0])
    grain = ndimage.gaussian_filter(rng.normal(0, 1, shape), (0.4, 3))
    return np.uint8(255 * np.clip((base * light + 0.03 * grain)[..., None] * tint, 0, 1))


def draw_defect(image: Image, rng: np.random.Generator) -> Mask:
    """Darken a short stroke of an image, in place, and give its mask."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), bool)
    x, y = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height
    angle, length = rng.uniform(0, 3.1), 0.25 * min(height, width)
    for t in np.linspace(0, 1, 80):
        row, column = y + t * length * np.sin(angle), x + t * length * np.cos(angle)
        mask[min(int(row), height - 1), min(int(column), width - 1)] = True
    mask = ndimage.binary_dilation(mask, iterations=2) if min(height, width) > 8 else mask
    image[mask] = image[mask] // 3
    return mask


def draw_map(
    mask: Mask, peak: float, rng: np.random.Generator
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Smooth background well below the threshold, and a bump of this height on the mask."""
    noise = ndimage.gaussian_filter(rng.normal(0, 1, mask.shape), 6)
    quiet = 0.12 + 0.05 * noise / max(float(np.abs(noise).max()), 1e-9)
    bump = ndimage.gaussian_filter(mask.astype(np.float32), 3)
    return (quiet + peak * bump / max(float(bump.max()), 1e-9)).astype(np.float32)


def regions_of(mask: Mask, values: np.ndarray) -> tuple[Region, ...]:
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    total = float(values[mask].sum()) or 1.0
    found = []
    for i, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
        inside = values[labels == i]
        box = (columns.start, rows.start, columns.stop, rows.stop)
        found.append(Region(box, len(inside), float(inside.max()), float(inside.sum()) / total))
    return tuple(sorted(found, key=lambda r: -r.share))


def draw_example(
    result: ImageResult, shape: tuple[int, int], seed: int, *, own: bool = False
) -> Example:
    rng = np.random.default_rng(seed)
    image = draw_part(shape, rng)
    good = image.copy()
    truth = draw_defect(image, rng) if result.defective else np.zeros(shape, bool)
    seen = truth if result.defective else draw_defect(image, rng)
    values = draw_map(seen, 0.9 if result.flagged else 0.22, rng)
    mask = values > PIXEL_THRESHOLD if result.flagged else np.zeros(shape, bool)
    prediction = Prediction(
        key=result.key,
        score=result.score,
        p_value=result.p_value,
        defective=result.flagged,
        false_alarms=0.05,
        threshold=THRESHOLD,
        pixel_threshold=PIXEL_THRESHOLD,
        anomaly_map=values,
        mask=mask,
        regions=regions_of(mask, values),
        pictures={"Reconstruction": good} if own else {},
    )
    return Example(result, image, prediction, truth, np.ones(shape, bool))


def draw_results(good: int, bad: int, calibration: np.ndarray, seed: int) -> list[ImageResult]:
    rng = np.random.default_rng(seed)
    scores = [*rng.gamma(9, 0.3, good), *(3.2 + rng.gamma(2, 2.0, bad))]
    results = []
    for i, score in enumerate(scores):
        kind = "good" if i < good else KINDS[i % 3]
        p = (1 + int((calibration >= score).sum())) / (len(calibration) + 1)
        key = f"test/{kind}/{i:03d}.png"
        results.append(
            ImageResult(key, i >= good, kind, key, float(score), p, bool(score > THRESHOLD))
        )
    return results


def curves_of(results: list[ImageResult]) -> dict[str, tuple[list[float], list[float]]]:
    ranked = sorted(results, key=lambda r: -r.score)
    bad = np.array([r.defective for r in ranked])
    tp, fp = np.cumsum(bad), np.cumsum(~bad)
    x = np.linspace(0, 0.3, 400)
    return {
        "roc": ([0.0, *(fp / fp[-1])], [0.0, *(tp / tp[-1])]),
        "pr": (list(tp / tp[-1]), list(tp / (tp + fp))),
        "pro": (list(x), list(1 - np.exp(-(x * 40)) * 0.9 - 0.02)),
        "pixel_pr": (list(x / 0.3), list(1 - 0.5 * (x / 0.3) ** 3)),
    }


def rate(hits: int, n: int, label: str) -> Figure:
    low, high = (betaincinv(hits + 0.5, n - hits + 0.5, q) for q in (0.025, 0.975))
    return Figure(hits / n, label, float(low), float(high))


def figures_of(results: list[ImageResult]) -> dict[str, Figure]:
    good = [r.flagged for r in results if not r.defective] or [False]
    bad = [r.flagged for r in results if r.defective] or [True]
    return {
        "image_auroc": Figure(0.9731, "Image AUROC", 0.941, 0.994, estimator="exact"),
        "image_ap": Figure(0.9699, "Image AP", 0.931, 0.992),
        "false_alarm_rate": rate(sum(good), len(good), "False-alarm rate"),
        "miss_rate": rate(len(bad) - sum(bad), len(bad), "Miss rate"),
        "pixel_auroc": Figure(0.9812, "Pixel AUROC", estimator="stream", bound=0.0004),
        "aupro_0.30": Figure(0.8917, "AUPRO to FPR 0.3", estimator="paper"),
        "pixel_f1": Figure(0.4121, "Pixel F1"),
        "pixel_f1_max": Figure(0.5433, "Pixel F1-max", oracle=True),
        "pixel_iou": Figure(0.2597, "Pixel IoU"),
        "pixel_iou_max": Figure(0.373, "Pixel IoU-max", oracle=True),
        "defect_size": Figure(None, "AUPRO by size", reason="fewer than 8 marked defects"),
    }


def cards() -> tuple[dict[str, object], dict[str, object]]:
    detector = {
        "method": "patchcore",
        "backbone": "filter_bank",
        "options": {"budget_mb": 64, "neighbours": 9, "coreset": 0.01, "seed": 0},
        "geometry": {"size": [240, 1200], "interpolation": "bilinear", "pad": None},
        "calibration": {"groups": 40, "rule": "split", "false_alarms": 0.05},
        "bytes": 67_250_112,
        "versions": {"blemish": "0.1.0", "numpy": "2.1.0", "python": "3.12.4"},
    }
    data = {
        "name": "battery_plate",
        "fingerprint": "0f3c9d2ab87711ee9d0b5d7c4f2a1e60",
        "counts": {"train good": 147, "test good": 60, "test defective": 53},
        "synthetic": True,
    }
    return detector, data


def draw_evaluation(
    shape: tuple[int, int] = (120, 96),
    *,
    good: int = 60,
    bad: int = 53,
    examples: int = 2,
    own: bool = False,
    seed: int = 3,
) -> Evaluation:
    calibration = np.random.default_rng(seed + 1).gamma(9, 0.3, 40)
    results = draw_results(good, bad, calibration, seed)
    chosen = (
        sorted((r for r in results if r.defective and not r.flagged), key=lambda r: r.score),
        sorted((r for r in results if not r.defective and r.flagged), key=lambda r: -r.score),
        [r for r in results if r.defective and r.flagged],
    )
    misses, alarms, hits = (
        tuple(draw_example(r, shape, 100 * n + i, own=own) for i, r in enumerate(group[:examples]))
        for n, group in enumerate(chosen)
    )
    detector, data = cards()
    return Evaluation(
        detector=detector,
        data=data,
        figures=figures_of(results),
        curves=curves_of(results) if good and bad else {},
        images=tuple(results),
        misses=misses,
        false_alarms=alarms,
        hits=hits,
        calibration_scores=tuple(float(s) for s in calibration),
        threshold=THRESHOLD,
        false_alarms_asked=0.05,
        seconds={"read": 0.412, "predict": 21.37, "figures": 75.2},
        notes=("Two images were left out: their masks are larger than the images.",),
    )


@pytest.fixture(scope="session")
def make_evaluation() -> Callable[..., Evaluation]:
    return draw_evaluation


@pytest.fixture(scope="session")
def evaluation() -> Evaluation:
    return draw_evaluation()


@pytest.fixture(scope="session")
def hostile_names() -> tuple[str, ...]:
    return HOSTILE


@pytest.fixture(scope="session")
def hostile() -> Evaluation:
    """Every text that comes from outside is an attack."""
    plain = draw_evaluation((40, 40), examples=1, own=True)
    names = HOSTILE * 30
    images = tuple(
        replace(r, key=f"{names[i]}{i}", group=names[i], defect_type=names[i + 1])
        for i, r in enumerate(plain.images)
    )

    def spoil(examples: tuple[Example, ...]) -> tuple[Example, ...]:
        return tuple(
            replace(
                e,
                result=replace(e.result, key=name, defect_type=name),
                prediction=replace(e.prediction, key=name, pictures={name: e.image}),
            )
            for e in examples[:1]
            for name in HOSTILE
        )

    return replace(
        plain,
        detector={"method": HOSTILE[0], "options": {HOSTILE[1]: HOSTILE[0]}, HOSTILE[2]: HOSTILE},
        data={"name": HOSTILE[1], "versions": HOSTILE[0]},
        figures={HOSTILE[3]: Figure(None, HOSTILE[0], reason=HOSTILE[1], estimator=HOSTILE[2])},
        curves={**plain.curves, HOSTILE[0]: ([0.0, 1.0], [0.0, 1.0])},
        images=images,
        misses=spoil(plain.misses),
        false_alarms=spoil(plain.false_alarms),
        hits=spoil(plain.hits),
        seconds={HOSTILE[0]: 1.0},
        notes=HOSTILE,
    )
