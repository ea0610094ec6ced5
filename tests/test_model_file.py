import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from blemish.errors import ModelFileError
from blemish.model_file import KEY, SCHEMA, ModelFile, read_model_file, write_model_file

CONTENT = ModelFile({"method": "ä", "list": [1, 2.5, None]}, {"a": np.arange(6.0).reshape(2, 3)})


@pytest.fixture
def path(tmp_path):
    write_model_file(tmp_path / "a.blemish", CONTENT)
    return tmp_path / "a.blemish"


def forge(path, header):
    """A safetensors file with any text as its header."""
    save_file({"a": np.zeros(2)}, path, metadata={KEY: header})
    return path


def test_header_and_arrays_come_back(path):
    found = read_model_file(path)
    assert found.header == {**CONTENT.header, "schema": SCHEMA}
    np.testing.assert_array_equal(found.arrays["a"], CONTENT.arrays["a"])


ARRAYS = [
    np.arange(12).reshape(3, 4).T,
    np.arange(24, dtype=np.float32).reshape(2, 3, 4)[:, ::-1, ::2],
    np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    np.broadcast_to(np.float32(3), (2, 5)),
    np.zeros((0, 4), np.float64),
    np.array(3.5),
    np.array([[True, False]])[:, ::-1],
    np.array([1, 2], np.float16),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_any_layout_in_memory_is_written_as_it_reads(tmp_path, array):
    write_model_file(tmp_path / "a", ModelFile({}, {"x": array}))
    found = read_model_file(tmp_path / "a").arrays["x"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(path, monkeypatch, call):
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(ModelFileError, match=r"No space left on device.*Nothing was changed"):
        write_model_file(path, ModelFile({}, {"b": np.zeros(3)}))
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.blemish"]


def test_what_reads_differently_than_written_is_never_put_in_place(path, monkeypatch):
    before = path.read_bytes()
    monkeypatch.setattr("blemish.model_file.read_model_file", lambda _: ModelFile({}, {}))
    with pytest.raises(ModelFileError, match="'a' reads differently"):
        write_model_file(path, CONTENT)
    assert path.read_bytes() == before


def test_a_file_cut_anywhere_is_refused(path):
    content = path.read_bytes()
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match=r"truncated|damaged"):
            read_model_file(path)


def test_no_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(ModelFileError, match="There is no model file"):
        read_model_file(tmp_path / "missing.blemish")
    with pytest.raises(ModelFileError, match="There is no model file"):
        read_model_file(tmp_path)


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x04pickle", b"\xff" * 100, b"{}" * 50])
def test_anything_else_is_refused(tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ModelFileError, match="not a model file"):
        read_model_file(tmp_path / "x")


def test_weights_of_another_tool_are_refused_with_a_hint(tmp_path):
    save_file({"weight": np.zeros(2)}, tmp_path / "x", metadata={"format": "pt"})
    with pytest.raises(ModelFileError, match="go into the option `weights`"):
        read_model_file(tmp_path / "x")
    save_file({"weight": np.zeros(2)}, tmp_path / "y")
    with pytest.raises(ModelFileError, match="not one of blemish"):
        read_model_file(tmp_path / "y")


def test_a_later_format_asks_for_a_newer_blemish(tmp_path):
    with pytest.raises(ModelFileError, match=r"has format 99.*Install a newer blemish"):
        read_model_file(forge(tmp_path / "x", '{"schema": 99}'))
    with pytest.raises(ModelFileError, match="has format 0"):
        read_model_file(forge(tmp_path / "x", '{"schema": 0}'))


HOSTILE = [
    "",
    "{",
    "null",
    "[]",
    "7",
    "{}",
    '{"schema": null}',
    '{"schema": "x"}',
    '{"schema": [1]}',
    '{"schema": NaN}',
    '{"schema": Infinity}',
    '{"schema": 1.5}',
    '{"schema": true}',
    "[" * 100_000,
    '{"schema":' + "9" * 5000 + "}",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda t: t[:20])
def test_a_hostile_header_is_refused(tmp_path, text):
    with pytest.raises(ModelFileError):
        read_model_file(forge(tmp_path / "x", text))


@given(st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_as_schema_is_read_or_refused(tmp_path, value):
    path = forge(tmp_path / "x", json.dumps({"schema": value}))
    try:
        assert read_model_file(path).header["schema"] == value
    except ModelFileError:
        assert value != SCHEMA


def test_numbers_that_json_does_not_have_are_never_written(tmp_path):
    with pytest.raises(ValueError, match="Out of range float"):
        write_model_file(tmp_path / "x", ModelFile({"loss": float("nan")}, {}))
    assert list(tmp_path.iterdir()) == []
