"""The exported file: what is checked before anything runs it."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from blemish import onnx_file
from blemish.errors import ModelFileError
from blemish.graphs import Graph
from blemish.model_file import ModelFile, read_model_file, write_model_file

HEADER = {"schema": 1, "method": "onnx_model"}
ARRAYS = {"scores": np.arange(3.0)}
HERE = Path("part.onnx")


def small_graph(opset=18):
    graph = Graph()
    x = graph.input("pixels", TensorProto.FLOAT, ["B", 3])
    graph.output(graph.add("Mul", x, graph.floats([1, 2, 3])), "map", TensorProto.FLOAT, ["B", 3])
    model = graph.model("small")
    model.opset_import[0].version = opset
    return model


GRAPH = small_graph().SerializeToString()


def test_what_is_packed_comes_out_again(tmp_path):
    path = tmp_path / "part.onnx"
    content = ModelFile(HEADER, {**ARRAYS, "method.graph": np.frombuffer(GRAPH, np.uint8)})
    write_model_file(path, content)
    found = read_model_file(path)
    assert found.header == HEADER
    assert found.arrays["method.graph"].tobytes() == GRAPH
    np.testing.assert_array_equal(found.arrays["scores"], ARRAYS["scores"])
    assert ModelProto.FromString(path.read_bytes()).graph.name == "small"


def packed(graph=GRAPH, header=HEADER, arrays=ARRAYS):
    return onnx_file.pack(graph, header, arrays)


def refused(content, match, tmp_path):
    path = tmp_path / "part.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=match):
        read_model_file(path)


def test_a_foreign_onnx_file_is_told(tmp_path):
    refused(GRAPH, "not one of blemish", tmp_path)


def test_an_edited_header_is_told(tmp_path):
    content = packed().replace(b'"onnx_model"', b'"onnx_modem"')
    refused(content, "changed after it was exported", tmp_path)


def test_an_edited_graph_is_told(tmp_path):
    content = packed().replace(b"pixels", b"pixelz")
    refused(content, "changed after it was exported", tmp_path)


def test_missing_and_further_metadata_is_told(tmp_path):
    for missing in ("blemish.arrays", "blemish.digest"):
        model = ModelProto.FromString(packed())
        kept = [p for p in model.metadata_props if p.key != missing]
        del model.metadata_props[:]
        model.metadata_props.extend(kept)
        refused(model.SerializeToString(), "lacks metadata", tmp_path)
    tail = packed()[len(GRAPH) :]
    refused(packed() + tail, "twice", tmp_path)
    refused(packed() + GRAPH, "behind its metadata", tmp_path)


@pytest.mark.parametrize("opset", [7, 99])
def test_an_opset_that_is_not_supported_is_told(opset, tmp_path):
    graph = small_graph(opset).SerializeToString()
    refused(packed(graph), f"needs opset {opset}", tmp_path)


def test_operators_of_others_are_never_run(tmp_path):
    model = small_graph()
    model.opset_import.append(helper.make_opsetid("evil.example", 1))
    refused(packed(model.SerializeToString()), "evil.example", tmp_path)
    model = small_graph()
    model.functions.add().name = "own"
    refused(packed(model.SerializeToString()), "functions of its own", tmp_path)


def external(tensor):
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"


def test_data_outside_the_file_is_never_read(tmp_path):
    model = small_graph()
    external(model.graph.initializer[0])
    refused(packed(model.SerializeToString()), "in another file", tmp_path)


def test_data_outside_the_file_is_found_wherever_it_hides(tmp_path):
    inner = helper.make_graph([], "inner", [], [])
    external(inner.initializer.add())
    for name, value in (("graph", inner), ("value", inner.initializer[0])):
        model = small_graph()
        model.graph.node[0].attribute.append(helper.make_attribute(name, value))
        refused(packed(model.SerializeToString()), "in another file", tmp_path)
    model = small_graph()
    external(model.graph.sparse_initializer.add().values)
    refused(packed(model.SerializeToString()), "in another file", tmp_path)


def test_damaged_arrays_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file.base64, "b64encode", lambda data: b"@@@@")
    refused(packed(), "damaged arrays", tmp_path)
    monkeypatch.setattr(onnx_file.base64, "b64encode", lambda data: b"AAAA")
    refused(packed(), "damaged arrays", tmp_path)


def test_a_graph_that_is_none_is_told(tmp_path):
    # A field of the right outer shape whose inside is no message.
    refused(packed(b"\x08\x09\x3a\x02\xff\xff"), "no ONNX graph", tmp_path)


def test_every_truncation_is_one_error(tmp_path):
    content = packed()
    for length in range(0, len(content), 7):
        refused(content[:length], "part.onnx", tmp_path)


def test_a_file_too_large_for_the_format_is_refused(monkeypatch):
    monkeypatch.setattr(onnx_file, "LARGEST", 100)
    with pytest.raises(ModelFileError, match="smaller bank_mb"):
        packed()


def mutate(content: bytes, generator: np.random.Generator) -> bytes:
    """Change, cut, repeat or insert a few bytes."""
    data = bytearray(content)
    for _ in range(int(generator.integers(1, 4))):
        place = int(generator.integers(0, len(data)))
        kind = int(generator.integers(0, 5))
        if kind == 0:
            data[place] = int(generator.integers(0, 256))
        elif kind == 1:
            data[place] ^= 1 << int(generator.integers(0, 8))
        elif kind == 2:
            del data[place : place + int(generator.integers(1, 40))]
        elif kind == 3:
            data[place:place] = generator.bytes(int(generator.integers(1, 20)))
        else:
            data[place:place] = data[place : place + int(generator.integers(1, 60))]
        data = data or bytearray(b"\x00")
    return bytes(data)


def tried(path: Path, count: int, seed: int) -> int:
    """How many of many mutations of a file are refused with one error each; the others are it."""
    content, generator, found = path.read_bytes(), np.random.default_rng(seed), 0
    target = path.with_name(f"mutated{path.suffix}")
    for _ in range(count):
        changed = mutate(content, generator)
        target.write_bytes(changed)
        try:
            same = read_model_file(target)
        except ModelFileError:
            found += 1
            continue
        if path.suffix == ".onnx":
            assert changed == content, "a changed file passed its digest"
        else:
            assert same.header["schema"] == 1
            found += 1
    return found


def mutable(tmp_path: Path, suffix: str) -> Path:
    path = tmp_path / f"part{suffix}"
    graph = np.frombuffer(GRAPH, np.uint8)
    write_model_file(path, ModelFile(HEADER, {**ARRAYS, "method.graph": graph}))
    return path


@pytest.mark.parametrize("suffix", [".onnx", ".blemish"])
def test_mutated_files_are_refused_with_one_error_each(suffix, tmp_path):
    assert tried(mutable(tmp_path, suffix), 500, seed=0) >= 495


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".onnx", ".blemish"])
def test_ten_thousand_mutated_files_are_refused_with_one_error_each(suffix, tmp_path):
    assert tried(mutable(tmp_path, suffix), 5000, seed=1) >= 4950


# Mutations of the graph or header with a digest that is right: what reaches the runtime.
TRY = """
import sys
from pathlib import Path
import numpy as np
from blemish.detector import Detector
from blemish.errors import BlemishError
image = np.zeros((64, 96, 3), np.uint8)
for path in sorted(Path(sys.argv[1]).glob("*.onnx")):
    print(path.name, "begun", flush=True)
    try:
        Detector.load(path).predict(image)
        print(path.name, "ran", flush=True)
    except BlemishError as error:
        print(path.name, "refused", type(error).__name__, flush=True)
"""


def forged(exported: Path, folder: Path, count: int, seed: int) -> None:
    content, generator = read_model_file(exported), np.random.default_rng(seed)
    graph = content.arrays["method.graph"].tobytes()
    arrays = {k: v for k, v in content.arrays.items() if k != "method.graph"}
    place = graph.rfind(b"give_map") - 4000  # nodes lie in front of the outputs' declarations
    for i in range(count):
        part = bytearray(graph)
        part[max(place, 0) :] = mutate(graph[max(place, 0) :], generator)
        data = onnx_file.pack(bytes(part), content.header, arrays)
        (folder / f"{i:05d}.onnx").write_bytes(data)


def outcomes(folder: Path) -> dict[str, str]:
    """What became of each file, tried in processes of their own; a crash ends only its process."""
    ends: dict[str, str] = {}
    while left := sorted(p for p in folder.glob("*.onnx")):
        done = subprocess.run(
            [sys.executable, "-c", TRY, str(folder)], capture_output=True, text=True, timeout=300
        )
        # Libraries print on their own when they fail.
        for name, end in re.findall(r"^(\d+\.onnx) (.*)$", done.stdout, re.MULTILINE):
            ends[name] = end
        if done.returncode == 0:
            break
        last = next(n for n in reversed(list(ends)) if ends[n] == "begun")
        assert "Traceback" not in done.stderr, done.stderr
        ends[last] = f"ended its process with {done.returncode}"
        for path in left:
            if path.name in ends:
                path.unlink()
    return ends


@pytest.mark.parametrize(
    "count", [25, pytest.param(400, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_forged_files_never_hurt_the_caller(exported_part, tmp_path, count):
    forged(exported_part, tmp_path, count, seed=count)
    ends = outcomes(tmp_path)
    assert len(ends) == count
    assert "begun" not in ends.values()
    assert sum(end.startswith("refused") for end in ends.values()) > count / 4
