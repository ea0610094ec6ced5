"""Loads model files and scores images in a process that has fitted nothing.

Each line of the input is a JSON list: a model file and an .npz of images; each line of the output
the list of their scores.
"""

import json
import sys
from importlib.metadata import EntryPoint

import numpy as np

from blemish import Detector, registry

registry._foreign("methods")["mock_method"] = EntryPoint(
    "mock_method", "mock_method:MockMethod", "blemish.methods"
)
for line in sys.stdin:
    model, pixels = json.loads(line)
    with np.load(pixels) as stored:
        found = Detector.load(model).predict([stored[name] for name in stored.files])
    print(json.dumps([p.score for p in found]), flush=True)
