from blemish.metrics.figure import Figure


def test_json_leaves_out_what_says_nothing():
    assert Figure(0.5, "AUROC").to_json() == {"value": 0.5, "label": "AUROC"}


def test_json_keeps_everything_that_is_needed_to_read_the_number():
    figure = Figure(0.5, "F1-max", 0.4, 0.6, oracle=True, bound=1e-6, estimator="stream")
    assert figure.to_json() == {
        "value": 0.5,
        "label": "F1-max",
        "low": 0.4,
        "high": 0.6,
        "estimator": "stream",
        "oracle": True,
        "bound": 1e-6,
    }


def test_json_of_a_missing_value_has_its_reason():
    missing = Figure(None, "AUROC", reason="no good image").to_json()
    assert missing == {"value": None, "label": "AUROC", "reason": "no good image"}
