"""Export: a fitted detector becomes one ONNX file, or an error that says how far apart they are."""
