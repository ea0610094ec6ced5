import numpy as np
import pytest

from blemish.errors import MetricError
from blemish.metrics.image_log import ImageLog
from blemish.metrics.pixel_figures import PixelSettings, pixel_figures
from blemish.metrics.pixels import PixelMetrics

SETTINGS = PixelSettings((0.3, 0.05), (0, 5), 0.5, 50, 3)


def test_the_names_are_the_same_with_and_without_values(make):
    metrics = PixelMetrics((0.3, 0.05), 0.5, (0, 5), replicates=50, seed=3)
    for n, (values, truth) in enumerate(zip(*make(), strict=True)):
        metrics.add(values, truth, key=str(n))
    assert metrics.settings == SETTINGS
    full = metrics.figures()
    empty = pixel_figures("because", ImageLog(), SETTINGS, "stream")
    assert list(full) == list(empty)
    for name, figure in empty.items():
        assert (figure.value, figure.reason, figure.bound) == (None, "because", 0)
        assert (figure.label, figure.oracle) == (full[name].label, full[name].oracle)
        assert figure.estimator == full[name].estimator


def test_only_the_own_estimator_has_intervals(make):
    metrics = PixelMetrics((0.3,), 0.5, replicates=50)
    for values, truth in zip(*make(), strict=True):
        metrics.add(values, truth)
    figures = metrics.figures()
    assert figures["aupro_0.30"].low is not None
    assert figures["aupro_0.30_paper"].low is None


@pytest.mark.parametrize("threshold", [None, 0.25])
def test_arrays_rebuild_the_same_settings(threshold):
    settings = PixelSettings((0.3,), (), threshold, 0, 9)
    assert PixelSettings.from_arrays(settings.to_arrays()) == settings


def test_a_limit_above_one_is_refused():
    with pytest.raises(MetricError, match="FPR limit 5"):
        PixelSettings((5,), (), None, 0, 0)


def test_labels_say_what_a_table_needs(make):
    labels = {
        name: figure.label
        for name, figure in pixel_figures("because", ImageLog(), SETTINGS, "exact").items()
    }
    assert labels["aupro_0.05"] == "AUPRO@0.05"
    assert labels["aupro_0.05_paper"] == "AUPRO@0.05, 99 thresholds"
    assert labels["aupro_0.30_min5"] == "AUPRO@0.30, regions ≥ 5 px"
    assert labels["rho_0.30_paper"] == "ρ of AUPRO@0.30, 99 thresholds (our reading)"
    assert len(set(labels.values())) == len(labels)
    assert not np.any(["  " in label for label in labels.values()])
