import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from blemish.errors import MetricError
from blemish.metrics.explainability import ExplainabilityMetrics


def metrics_of(maps, truths, numbers=None, **options):
    metrics = ExplainabilityMetrics(**({"replicates": 100} | options))
    for n in range(len(maps)) if numbers is None else numbers:
        metrics.add(maps[n], truths[n], None, f"k{n}", f"g{n}")
    return metrics


def test_figures_are_means_over_the_images_with_a_marked_defect(make):
    maps, truths = make(0, images=12)
    figures = metrics_of(maps, truths).figures()
    aucs = [
        roc_auc_score(t.ravel(), m.ravel()) for m, t in zip(maps, truths, strict=True) if t.any()
    ]
    assert len(aucs) == 6
    assert figures["x_auc"].value == pytest.approx(np.mean(aucs))
    assert figures["x_auc"].low < figures["x_auc"].value < figures["x_auc"].high
    assert figures["x_iou_max"].value >= figures["x_iou"].value
    assert {name for name, figure in figures.items() if figure.oracle} == {
        "x_f1_max",
        "x_iou_max",
        "x_f1_class",
        "x_iou_class",
    }


def test_the_class_threshold_is_mean_and_deviation_of_good_images_too(make):
    maps, truths = make(0)
    metrics = metrics_of(maps, truths)
    pixels = np.stack(maps).astype(float)
    assert metrics.class_threshold == pytest.approx(pixels.mean() + pixels.std())
    again = metrics_of(maps, truths, class_threshold=metrics.class_threshold)
    streamed, given = metrics.figures()["x_f1_class"], again.figures()["x_f1_class"]
    assert given.value == streamed.value
    assert streamed.oracle
    assert not given.oracle


def test_an_image_whose_mask_vanished_is_skipped_and_counted(make):
    maps, truths = make(0)
    metrics = metrics_of(maps, truths)
    before = metrics.figures()["x_auc"]
    metrics.add(maps[0], np.zeros_like(truths[0]), key="tiny", defective=True)
    outside = np.zeros_like(truths[1])
    metrics.add(maps[1], truths[1], outside, key="outside the region of interest")
    metrics.add(maps[1], None, key="unmarked", defective=True)
    metrics.add(maps[1], None, key="not said")
    assert metrics.figures()["x_auc"] == before
    assert metrics.vanished == ("tiny", "outside the region of interest", "unmarked")
    assert metrics.notes == ("3 defective images without a marked pixel were skipped.",)
    assert metrics_of(maps, truths).notes == ()


def test_without_a_marked_defect_there_is_a_reason_instead_of_a_value(make):
    maps, truths = make(0)
    for metrics in (metrics_of(maps, truths, [0, 2]), ExplainabilityMetrics()):
        for figure in metrics.figures().values():
            assert figure.value is None
            assert "no image has a marked defect" in figure.reason


@pytest.mark.parametrize("cut", [0, 1, 3, 6])
def test_merging_two_accumulators_is_one_over_both(make, cut):
    maps, truths = make(0)
    merged = metrics_of(maps, truths, range(cut))
    merged.merge(metrics_of(maps, truths, range(cut, 6)))
    whole = metrics_of(maps, truths)
    assert merged.keys == whole.keys
    for name, figure in whole.figures().items():
        assert merged.figures()[name].value == pytest.approx(figure.value, abs=1e-12), name


def test_arrays_rebuild_the_same_state(make, tmp_path):
    metrics = metrics_of(*make(0))
    np.savez(tmp_path / "state.npz", **metrics.to_arrays())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as arrays:
        again = ExplainabilityMetrics.from_arrays(arrays)
    assert again.figures() == metrics.figures()
    with pytest.raises(MetricError, match="added before"):
        again.merge(metrics)


def test_an_image_counts_once(make):
    maps, truths = make(0)
    metrics = metrics_of(maps, truths)
    with pytest.raises(MetricError, match="'k0' was added before"):
        metrics.add(maps[0], truths[0], key="k0")
    with pytest.raises(MetricError, match="into itself"):
        metrics.merge(metrics)


def test_bad_input_is_refused(make):
    metrics = ExplainabilityMetrics()
    with pytest.raises(MetricError, match="NaN"):
        metrics.add(np.full((2, 2), np.nan), None)
    with pytest.raises(MetricError, match="truth mask"):
        metrics.add(np.zeros((2, 2)), np.zeros((3, 2), bool))
