"""Imports follow the arrows of docs/design.md; nothing points back."""

import ast
from pathlib import Path

import pytest

import blemish
from blemish import registry

ROOT = Path(blemish.__file__).parent

# Lowest first. Modules on one line are siblings and never import each other.
LAYERS = [
    {"errors"},
    {"types", "registry"},
    {"options", "image_files", "files", "parallel", "run", "graphs", "onnx_file", "result_files"},
    {"images", "model_file", "team", "tracking", "network_graph"},
    {"datasets"},
    {"resampling"},
    {"preprocess", "preparation", "augmentation"},
    {"samples", "settings"},
    {"defect_pool", "error_maps", "mixing", "maps", "mask_bank", "losses", "memory"},
    {"adaptive_blur", "light"},
    {"nets", "checkpoints", "devices", "training_watch"},
    {"backbones"},
    {"features"},
    {"training", "memory_graph", "patch_candidates"},
    {"synthesis"},
    {"methods"},
    {"calibration", "pipeline", "method_options"},
    {"fitted", "folds", "training_samples"},
    {"pretrained"},
    {"detector"},
    {"metrics"},
    {"explanation", "likeness"},
    {"evaluation"},
    {"comparison"},
    {"inspection"},
    {"benchmark", "doctor", "exporting", "hot_folder", "listing", "reporting"},
    {"speed", "grid", "grid_table"},
    {"leaderboard"},
    {"cli", "station", "scale"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# Anything may read these; they import nothing of blemish but errors.
ANYWHERE = {"errors"}
# Torch and its relatives load only where a trained network lives.
TRAINING_ONLY = {"torch", "torchvision", "timm", "lightning", "onnxscript"}
MODULES = sorted(p for p in ROOT.rglob("*.py"))


def module_of(path: Path) -> tuple[str, ...]:
    return path.relative_to(ROOT).with_suffix("").parts


def imports(path: Path, top_level_only: bool = False) -> list[tuple[int, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    found = []
    for node in nodes:
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            found += [(node.lineno, f"{node.module}.{alias.name}") for alias in node.names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: "/".join(module_of(p)))
def test_imports_point_down(path: Path):
    own = module_of(path)
    if own in {("__init__",), ("__main__",)}:
        return
    assert own[0] in RANK, f"{own[0]} has no layer: add it to LAYERS"
    for line, name in imports(path):
        if not name.startswith("blemish."):
            continue
        other = name.split(".")[1]
        if other in ANYWHERE or other == own[0] or other not in RANK:
            continue
        assert RANK[other] < RANK[own[0]], f"{path}:{line}: {own[0]} may not import {other}"


@pytest.mark.parametrize("folder", ["methods", "datasets", "backbones"])
def test_siblings_never_import_each_other(folder: str):
    siblings = set(registry.names(folder))
    for name in sorted(siblings):
        for line, imported in imports(ROOT / folder / f"{name}.py"):
            parts = imported.split(".")
            if parts[:2] == ["blemish", folder]:
                assert parts[2] not in siblings, f"{name}.py:{line} imports {parts[2]}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: "/".join(module_of(p)))
def test_files_stay_short_and_functions_too(path: Path):
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < 400, f"{path} has {text.count(chr(10))} lines: two ideas?"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= 60, f"{path}:{node.lineno}: {node.name} has {length} lines"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: "/".join(module_of(p)))
def test_own_modules_are_imported_at_the_top(path: Path):
    top = set(imports(path, top_level_only=True))
    if module_of(path) == ("__init__",):
        return
    deferred = [i for i in imports(path) if i not in top and i[1].startswith("blemish.")]
    assert not deferred, f"{path}: imports hidden in functions: {deferred}"
