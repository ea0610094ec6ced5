import json
from importlib import resources

import jsonschema
import numpy as np
import pytest

from blemish import Detector
from blemish.types import PREDICTION_SCHEMA, Prediction, Region
from drawn import images, plates

MASK = np.zeros((7, 9), bool)


@pytest.fixture(scope="module")
def schema():
    folder = resources.files("blemish") / "schemas"
    return json.loads((folder / "prediction-1.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def predictions():
    data = plates(train=8)
    detector = Detector("patchcore", preset="tiny", false_alarms=0.5).fit(data)
    return detector.predict(images(data.select("test")))


def test_the_json_of_predictions_follows_the_schema(schema, predictions):
    jsonschema.Draft202012Validator.check_schema(schema)
    assert any(p.regions for p in predictions)
    for prediction in predictions:
        jsonschema.validate(json.loads(json.dumps(prediction.to_json())), schema)


def test_the_schema_knows_every_field_and_no_other(schema, predictions):
    assert set(schema["properties"]) == set(predictions[0].to_json()) == set(schema["required"])
    region = schema["properties"]["regions"]["items"]
    assert set(region["properties"]) == set(Region((0, 0, 1, 1), 1, 1.0, 1.0).to_json())
    assert schema["properties"]["schema"]["const"] == PREDICTION_SCHEMA


@pytest.mark.parametrize("change", [{"p_value": 0}, {"defective": 1}, {"extra": 1}, {"width": 0}])
def test_the_schema_refuses_what_is_no_prediction(schema, predictions, change):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(predictions[0].to_json() | change, schema)


def test_a_prediction_is_plain_json():
    region = Region((1, 2, 3, 5), 6, 2.5, 1.0)
    prediction = Prediction(
        "a.png",
        3.0,
        0.1,
        True,
        0.1,
        2.0,
        1.5,
        np.zeros((7, 9), np.float32),
        np.zeros((7, 9), bool),
        (region,),
    )
    found = prediction.to_json()
    assert (found["width"], found["height"]) == (9, 7)
    assert found["regions"] == [{"box": [1, 2, 3, 5], "area_px": 6, "peak": 2.5, "share": 1.0}]
    assert "anomaly_map" not in found
