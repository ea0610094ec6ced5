"""Make the golden file of the present format; run it once per released format.

    PYTHONPATH=src:tests python tests/golden/make.py

Files of earlier formats are never made again: they must load for ever.
"""

import json
from pathlib import Path

from blemish import Detector, export_onnx
from blemish.images import write_png
from blemish.model_file import SCHEMA
from drawn import draw_defective, draw_good, plates

HERE = Path(__file__).parent


def main() -> None:
    detector = Detector(
        "patchcore", coreset=0.03, bank_mb=0.02, false_alarms=0.25, calibration_share=0.4
    ).fit(plates())
    detector.save(HERE / f"format-{SCHEMA}.blemish")
    export_onnx(detector, HERE / f"format-{SCHEMA}.onnx")
    recorded = {}
    for name, image in {"good": draw_good(950), "defective": draw_defective(951)}.items():
        write_png(HERE / f"{name}.png", image)
        found = detector.predict(image)
        recorded[name] = {
            "score": found.score,
            "p_value": found.p_value,
            "defective": found.defective,
            "threshold": found.threshold,
            "pixel_threshold": found.pixel_threshold,
            "peak": float(found.anomaly_map.max()),
            "mean": float(found.anomaly_map.mean()),
            "regions": len(found.regions),
        }
    text = json.dumps(recorded, indent=2) + "\n"
    (HERE / f"format-{SCHEMA}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
