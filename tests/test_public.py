"""The public names: few, lazy, and the same at run time and for type checkers."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import blemish

HEAVY = ("torch", "timm", "scipy", "onnxruntime", "onnx", "PIL", "jinja2", "numpy")
HEAVY += ("fastapi", "sqlalchemy", "uvicorn", "alembic", "prometheus_client")


def test_importing_blemish_imports_nothing_heavy():
    code = "import blemish, json, sys; print(json.dumps(sorted(sys.modules)))"
    source = str(Path(blemish.__file__).parent.parent)
    text = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {source!r}); {code}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert not set(HEAVY) & set(json.loads(text))


def test_every_public_name_can_be_had():
    for name in blemish.__all__:
        assert getattr(blemish, name) is not None
    assert dir(blemish) == sorted(blemish.__all__)


def test_type_checkers_see_the_same_names_from_the_same_modules():
    tree = ast.parse(Path(blemish.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    typed = {
        alias.asname: node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert typed == blemish._PUBLIC


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'detektor'"):
        blemish.detektor  # noqa: B018
