import numpy as np
import pytest

from blemish.errors import MetricError
from blemish.metrics.comparison import (
    compare_aupro,
    compare_decisions,
    compare_image_auroc,
    compare_per_image,
)
from blemish.metrics.explainability import ExplainabilityMetrics
from blemish.metrics.pixels import PixelMetrics
from blemish.metrics.ranking import auroc


@pytest.fixture
def methods(make):
    """Two methods on the same images: the second sees defects less well."""
    maps, truths = make(0, images=16, decimals=3)
    worse = [values - 0.8 * truth for values, truth in zip(maps, truths, strict=True)]
    return maps, worse, truths


def shown(kind, maps, truths, order=None):
    metrics = kind(replicates=0)
    for n in range(len(maps)) if order is None else order:
        metrics.add(maps[n], truths[n], None, f"k{n}")
    return metrics


def test_the_difference_of_image_auroc_is_that_of_the_two():
    random = np.random.default_rng(0)
    truth = np.repeat([0, 1], 30)
    first, second = random.standard_normal((2, 60)) + np.outer([1.5, 0.2], truth)
    found = compare_image_auroc(first, second, truth)
    assert found.value == pytest.approx(auroc(first, truth) - auroc(second, truth))
    assert 0 < found.low < found.value < found.high
    swapped = compare_image_auroc(second, first, truth)
    assert (swapped.value, swapped.low) == pytest.approx((-found.value, -found.high))
    grouped = compare_image_auroc(first, second, truth, [f"g{n // 3}" for n in range(60)])
    assert grouped.value == found.value
    assert grouped.low != found.low


def test_regions_are_paired_whatever_the_order_of_images(methods):
    maps, worse, truths = methods
    first = shown(PixelMetrics, maps, truths)
    second = shown(PixelMetrics, worse, truths, reversed(range(16)))
    found = compare_aupro(first, second, 0.3)
    own, other = (m.figures()["aupro_0.30"].value for m in (first, second))
    assert found.value == pytest.approx(own - other)
    assert 0 < found.low < found.value < found.high


def test_per_image_figures_are_paired_and_wins_counted(methods):
    maps, worse, truths = methods
    first = shown(ExplainabilityMetrics, maps, truths)
    second = shown(ExplainabilityMetrics, worse, truths, reversed(range(16)))
    difference, won = compare_per_image(first, second)
    assert difference.value > difference.low > 0
    assert won > 0.8
    nothing, half = compare_per_image(first, first, "x_iou")
    assert (nothing.value, half) == (0, 0.5)


def test_other_images_cannot_be_compared(methods):
    maps, worse, truths = methods
    with pytest.raises(MetricError, match="regions"):
        compare_aupro(
            shown(PixelMetrics, maps, truths), shown(PixelMetrics, worse[:8], truths[:8]), 0.3
        )
    with pytest.raises(MetricError, match="same images"):
        compare_per_image(
            shown(ExplainabilityMetrics, maps, truths),
            shown(ExplainabilityMetrics, worse[:8], truths[:8]),
        )
    empty = shown(ExplainabilityMetrics, [], [])
    with pytest.raises(MetricError, match="both methods"):
        compare_per_image(empty, empty)
    with pytest.raises(MetricError, match="one kind only"):
        compare_image_auroc([1, 2], [2, 1], [1, 1])


def test_decisions_are_compared_by_balanced_accuracy():
    truth = np.repeat([False, True], [40, 10])
    right = truth.copy()
    alarmed = truth.copy()
    alarmed[:20] = True  # half of the good parts
    found = compare_decisions(right, alarmed, truth)
    assert found.value == pytest.approx(0.25)
    assert 0.15 < found.low < found.value < found.high < 0.35
    swapped = compare_decisions(alarmed, right, truth)
    assert (swapped.value, swapped.low) == pytest.approx((-found.value, -found.high))
    with pytest.raises(MetricError, match="Balanced accuracy needs good and defective"):
        compare_decisions([True], [True], [True])
