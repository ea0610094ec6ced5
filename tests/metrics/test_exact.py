import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from blemish.errors import MetricError
from blemish.metrics.exact import ExactPixelMetrics
from blemish.metrics.pixels import PixelMetrics


def first_pass(maps, truths, keyed=True):
    # a tiny buffer without an exact tail: the streamed figures alone are far off
    metrics = PixelMetrics(replicates=0, buffer=9, exact_top=0)
    for n, (values, truth) in enumerate(zip(maps, truths, strict=True)):
        metrics.add(values, truth, None, f"k{n}" if keyed else "")
    return metrics


@pytest.mark.parametrize("buffer", [1, 37, 10_000])
def test_the_second_pass_is_the_reference_to_1e_9(make, naive, buffer):
    maps, truths = make(2)
    exact = ExactPixelMetrics(first_pass(maps, truths), buffer)
    for n in reversed(range(6)):
        exact.add(maps[n], truths[n], None, f"k{n}")
    figures = exact.figures()
    truth = np.concatenate([t.ravel() for t in truths])
    values = np.concatenate([m.ravel() for m in maps])
    expected = {
        "pixel_auroc": roc_auc_score(truth, values),
        "pixel_ap": average_precision_score(truth, values),
        "pixel_f1_max": naive.best(maps, truths, naive.f1),
        "pixel_iou_max": naive.best(maps, truths, naive.iou),
        "aupro_0.30": naive.aupro(maps, truths, 0.30),
        "aupro_0.01": naive.aupro(maps, truths, 0.01),
        "aupro_0.05_paper": naive.paper_aupro(maps, truths, 0.05),
    }
    for name, value in expected.items():
        assert figures[name].value == pytest.approx(value, abs=1e-9), name
        assert figures[name].bound == 0
        assert figures[name].estimator == ("paper" if "paper" in name else "exact")


def test_images_without_keys_come_in_the_same_order(make):
    maps, truths = make()
    exact = ExactPixelMetrics(first_pass(maps, truths, keyed=False))
    for values, truth in zip(maps, truths, strict=True):
        exact.add(values, truth)
    truth = np.concatenate([t.ravel() for t in truths])
    values = np.concatenate([m.ravel() for m in maps])
    assert exact.figures()["pixel_auroc"].value == pytest.approx(roc_auc_score(truth, values))


def test_a_second_pass_that_differs_is_refused(make):
    maps, truths = make()
    exact = ExactPixelMetrics(first_pass(maps, truths))
    with pytest.raises(MetricError, match="0 of 6 images"):
        exact.figures()
    with pytest.raises(MetricError, match="not in the first pass"):
        exact.add(maps[0], truths[0], None, "other")
    with pytest.raises(MetricError, match="differ between the passes"):
        exact.add(maps[0] + 1, truths[0], None, "k0")
    with pytest.raises(MetricError, match="differ between the passes"):
        exact.add(maps[0], truths[1], None, "k0")
    exact.add(maps[0], truths[0], np.ones_like(truths[0]), "k0")
    with pytest.raises(MetricError, match="came twice"):
        exact.add(maps[0], truths[0], None, "k0")


def test_images_without_a_mask_are_left_out_again():
    first = PixelMetrics(replicates=0)
    first.add(np.eye(3), None, key="unmarked")
    exact = ExactPixelMetrics(first)
    exact.add(np.eye(3), None, key="unmarked")
    assert exact.figures()["aupro_0.30"].value is None
