"""ADTR+: what it learns from, going on from ADTR, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from blemish.datasets.base import DataSet  # noqa: E402
from blemish.detector import Detector  # noqa: E402
from blemish.errors import DataError, OptionError, OverlapError  # noqa: E402
from blemish.evaluation import evaluate  # noqa: E402
from blemish.run import Run  # noqa: E402
from drawn import defective_records, good_records, plates  # noqa: E402

DATA = plates()
MARKED = DataSet("marked", (*DATA.records, *defective_records(3, 3000, split="train")))
OWN = {"calibration": "split", "false_alarms": 0.4}


@pytest.fixture(scope="module")
def adtr():
    return Detector("adtr", "tiny", **OWN, epochs=8).fit(DATA)


def make(**values):
    return Detector("adtr_plus", "tiny", **{**OWN, "epochs": 2, "per_image": 1, **values})


def fit(data=MARKED, init=None, **values):
    said = []
    detector = make(**values)
    detector.fit(data, Run(say=said.append), init)
    return detector, " ".join(said)


def test_real_defects_are_learned_from_where_there_are_some():
    detector, said = fit()
    assert "3 defective views, 0 with confetti" in said
    assert set(MARKED.select("train", True).hashes.values()) <= set(detector.learned)


def test_confetti_stands_in_where_there_are_none():
    assert "0 defective views, 12 with confetti" in fit(DATA)[1]
    assert "3 defective views, 12 with confetti" in fit(confetti="true")[1]


def test_without_any_defect_it_says_what_to_do():
    with pytest.raises(DataError, match=r"few_defects=3.*use adtr"):
        fit(DATA, confetti="false")


def test_a_defect_without_a_mask_teaches_images_but_not_pixels():
    bare = [replace(r, mask=None) for r in defective_records(3, 3000, split="train")]
    data = DataSet("bare", (*DATA.records, *bare))
    assert "3 defective views" in fit(data, labels="images")[1]
    assert "0 defective views, 12 with confetti" in fit(data)[1]


@pytest.mark.parametrize("labels", ["pixels", "images"])
def test_scores_of_defects_rise_above_those_of_adtr(adtr, labels):
    trained, _ = fit(init=adtr, labels=labels, epochs=20)

    def contrast(detector):
        found = [detector.predict(DATA.image(r)).score for r in DATA.select("test", True)]
        good = [detector.predict(DATA.image(r)).score for r in DATA.select("test", False)]
        return np.median(found) / np.median(good)

    assert contrast(trained) > 1.05 * contrast(adtr)


def test_it_goes_on_from_the_weights_of_adtr(adtr, monkeypatch):
    seen = {}

    def stop(self, *args):
        seen.update({k: v.clone() for k, v in self.network_.state_dict().items()})
        raise RuntimeError("enough")

    monkeypatch.setattr("blemish.methods.adtr_plus.ADTRPlus._train", stop)
    with pytest.raises(RuntimeError, match="enough"):
        fit(init=adtr)
    weights = adtr.pipeline.method.network_.state_dict()
    assert all(torch.equal(seen[name], weights[name]) for name in weights)


def test_the_split_goes_on_too(adtr):
    detector, _ = fit(init=adtr, seed=5)
    assert detector.settings.seed == adtr.settings.seed == 0
    assert set(detector._fitted.calibrated) == set(adtr._fitted.calibrated)
    assert set(adtr.learned) <= set(detector.learned)


def test_what_the_first_detector_learned_from_calibrates_nothing_and_is_never_tested(adtr):
    more = DataSet("more", (*good_records(4, 700), *DATA.records))
    detector, _ = fit(more, init=adtr)
    assert not set(detector._fitted.calibrated) & set(adtr.learned)
    learned = [r for r in DATA.select("train") if DATA.hashes[r.key] in set(adtr.learned)]
    with pytest.raises(DataError, match="learned from before"):
        fit(replace(DATA, records=tuple(learned)), init=adtr, confetti="true")
    moved = tuple(replace(r, split="test") for r in learned[:2])
    with pytest.raises(OverlapError):
        evaluate(detector, DataSet("moved", (*moved, *DATA.select("test").records)))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"width": 16}, "width is 32 in the detector to go on from and 16 here"),
        ({"image_size": "64"}, "6×6 cells, here are 8×8"),
        ({"calibration": "cross"}, "use calibration=split"),
        ({"strides": "4"}, "strides is"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_differs(adtr, values, said):
    with pytest.raises(OptionError, match=said):
        fit(init=adtr, **values)


def test_a_detector_of_another_method_is_refused():
    other = Detector("patchcore", "tiny", **OWN).fit(DATA)
    with pytest.raises(OptionError, match="goes on from a detector of adtr"):
        fit(init=other)
