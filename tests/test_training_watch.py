import pytest

torch = pytest.importorskip("torch", reason="the extra [train] is not installed")

from blemish.errors import TrainingError  # noqa: E402
from blemish.training_watch import PAUSES, Means  # noqa: E402


@pytest.fixture
def busy(monkeypatch):
    """A device that is not waited for, as a GPU is not."""
    monkeypatch.setitem(PAUSES, "cpu", 1e9)


def steps():
    return [{"loss": torch.tensor(float(i)), "kl": torch.tensor(2.0 * i)} for i in range(5)]


def test_means_are_over_all_steps_whether_or_not_the_device_was_waited_for(monkeypatch):
    found = []
    for pause in (0.0, 1e9):
        monkeypatch.setitem(PAUSES, "cpu", pause)
        means = Means()
        for number, terms in enumerate(steps()):
            means.add(terms, number)
        found.append(means.values())
    assert found[0] == found[1] == {"loss": 2.0, "kl": 4.0}


def test_what_is_shown_meanwhile_is_what_is_known(busy):
    means = Means()
    for number, terms in enumerate(steps()):
        means.add(terms, number)
    assert means.known() == {"loss": 0.0, "kl": 0.0}


def test_a_term_that_is_no_number_is_named_with_its_step_also_later(busy):
    means = Means()
    for number, terms in enumerate([*steps(), {"loss": torch.tensor(float("nan"))}]):
        means.add(terms, number)
    with pytest.raises(TrainingError, match="step 5: the term loss"):
        means.values()
