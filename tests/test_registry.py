from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import blemish
from blemish import registry
from blemish.errors import UnknownNameError


@pytest.mark.parametrize("kind", registry.KINDS)
def test_a_name_is_the_file_that_defines_a_class_spelled_like_it(kind):
    for name in registry.names(kind):
        found = registry.get(kind, name)
        assert found.__name__.lower() == name.replace("_", "")
        assert found.__module__ == f"blemish.{kind}.{name}"
    assert registry.names(kind) == sorted(registry.names(kind))


def test_helpers_are_not_names():
    assert "patchcore" in registry.names("methods")
    assert "base" not in registry.names("methods")
    assert "splits" not in registry.names("datasets")
    assert {"filter_bank", "timm_features"} <= set(registry.names("backbones"))


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(UnknownNameError, match=r"data set 'mvtec'\. Did you mean 'mvtec_ad'"):
        registry.get("datasets", "mvtec")


def test_other_packages_add_names_through_entry_points(monkeypatch):
    point = EntryPoint("mock_method", "mock_method:MockMethod", "blemish.methods")
    monkeypatch.setattr(registry.metadata, "entry_points", lambda group: [point])
    registry._foreign.cache_clear()
    try:
        assert "mock_method" in registry.names("methods")
        assert registry.get("methods", "mock_method").__name__ == "MockMethod"
    finally:
        registry._foreign.cache_clear()


def test_a_name_of_blemish_itself_wins_over_an_entry_point(monkeypatch):
    point = EntryPoint("patchcore", "mock_method:MockMethod", "blemish.methods")
    monkeypatch.setitem(registry._foreign("methods"), "patchcore", point)
    assert registry.get("methods", "patchcore").__name__ == "PatchCore"
    assert registry.names("methods").count("patchcore") == 1


def test_listing_imports_nothing(monkeypatch, tmp_path):
    folder = tmp_path / "methods"
    folder.mkdir()
    (folder / "my_new_method.py").write_text("raise SystemExit\n\nclass MyNewMethod:\n    pass\n")
    (folder / "tools.py").write_text("class Helper:\n    pass\n")
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "registry.py"))
    registry._own.cache_clear()
    try:
        assert registry._own("methods") == {"my_new_method": "MyNewMethod"}
    finally:
        registry._own.cache_clear()


def test_every_kind_is_a_folder():
    for kind in registry.KINDS:
        assert (Path(blemish.__file__).parent / kind).is_dir()
