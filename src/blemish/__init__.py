"""blemish: industrial visual anomaly detection.

The public names load on first use (PEP 562), so that importing blemish costs nothing.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_PUBLIC = {
    "BlemishError": "blemish.errors",
    "CalibrationWarning": "blemish.errors",
    "DataError": "blemish.errors",
    "DataSet": "blemish.datasets.base",
    "Detector": "blemish.detector",
    "Evaluation": "blemish.evaluation",
    "Explanation": "blemish.explanation",
    "Figure": "blemish.metrics.figure",
    "ImageError": "blemish.errors",
    "OptionError": "blemish.errors",
    "Prediction": "blemish.types",
    "Pretrained": "blemish.pretrained",
    "Progress": "blemish.run",
    "Cell": "blemish.grid_table",
    "GridData": "blemish.grid",
    "GridRun": "blemish.grid",
    "HotFolder": "blemish.hot_folder",
    "Inspection": "blemish.inspection",
    "Bulk": "blemish.scale.bulk",
    "inspect_in_bulk": "blemish.scale.bulk",
    "perform": "blemish.grid",
    "RayEngine": "blemish.scale.grid_on_ray",
    "write_leaderboard": "blemish.leaderboard",
    "RESULT_COLUMNS": "blemish.result_files",
    "Record": "blemish.datasets.base",
    "Region": "blemish.types",
    "Run": "blemish.run",
    "Tally": "blemish.inspection",
    "TRACKERS": "blemish.tracking",
    "Comparison": "blemish.comparison",
    "compare": "blemish.comparison",
    "write_atomically": "blemish.files",
    "write_categories": "blemish.reporting.results",
    "write_comparison": "blemish.reporting.comparison_page",
    "Cropped": "blemish.preparation.part_crop",
    "SubParts": "blemish.preparation.sub_parts",
    "THIRDS": "blemish.preparation.regions",
    "crop_parts": "blemish.preparation.part_crop",
    "maps_to_photos": "blemish.preparation.maps_back",
    "read_crop_options": "blemish.preparation.locating",
    "read_regions": "blemish.preparation.regions",
    "save_dataset": "blemish.datasets.saving",
    "split_parts": "blemish.preparation.sub_parts",
    "check_dataset": "blemish.datasets.checking",
    "describe_everything": "blemish.listing",
    "Export": "blemish.exporting.export",
    "measure_speed": "blemish.speed",
    "examination_text": "blemish.doctor",
    "examine": "blemish.doctor",
    "identity": "blemish.inspection",
    "is_encoder_file": "blemish.model_file",
    "line_of": "blemish.result_files",
    "safe_text": "blemish.result_files",
    "watch": "blemish.hot_folder",
    "evaluate": "blemish.evaluation",
    "export_onnx": "blemish.exporting.export",
    "explain": "blemish.explanation",
    "Likeness": "blemish.likeness",
    "find_likeness": "blemish.likeness",
    "heat_layer": "blemish.reporting.heat_layer",
    "image_digest": "blemish.datasets.base",
    "is_image_name": "blemish.images",
    "list_categories": "blemish.datasets.opening",
    "method_names": "blemish.listing",
    "open_dataset": "blemish.datasets.opening",
    "overlay": "blemish.reporting.pictures",
    "pretrain": "blemish.pretrained",
    "parse_assignments": "blemish.options",
    "parse_grid": "blemish.grid",
    "plan_runs": "blemish.grid",
    "read_image": "blemish.images",
    "read_info": "blemish.images",
    "read_mask": "blemish.images",
    "back_up_station": "blemish.station.backup",
    "restore_station": "blemish.station.backup",
    "run_grid": "blemish.grid",
    "run_station": "blemish.station.server",
    "to_png_bytes": "blemish.images",
    "uniformity_figures": "blemish.metrics.uniformity",
    "write_grid": "blemish.grid_table",
    "write_png": "blemish.images",
    "write_report": "blemish.reporting.html",
    "write_results": "blemish.reporting.results",
    "write_tiff": "blemish.images",
    "compose": "blemish.synthesis.compose",
    "make_gan": "blemish.synthesis.producing",
    "synthesize": "blemish.synthesis.producing",
    "write_synthesis": "blemish.reporting.synthesis_page",
}
__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'blemish' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
