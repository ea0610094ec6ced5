from collections import Counter

import numpy as np
import pytest

from blemish.datasets.cifar import CIFAR, CLASSES
from blemish.datasets.opening import list_categories, open_dataset
from blemish.errors import DataError
from helpers import make_images, numbers, paint


def write_binary(path, labels, coarse=False):
    """Label bytes and the planes red, green, blue of one drawn image each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        bytes([0] * coarse + [label]) + paint(i, 32, 32).transpose(2, 0, 1).tobytes()
        for i, label in enumerate(labels)
    ]
    path.write_bytes(b"".join(rows))


def make_cifar(root):
    """Two images of each class per batch, twenty for testing; CIFAR-100 with one of each."""
    for i in range(1, 6):
        write_binary(root / f"cifar-10-batches-bin/data_batch_{i}.bin", [*range(10)] * 2)
    write_binary(root / "cifar-10-batches-bin/test_batch.bin", [*range(10)] * 2)
    write_binary(root / "cifar-100-binary/train.bin", range(100), coarse=True)
    names = "\n".join(f"thing{i}" for i in range(100))
    (root / "cifar-100-binary/fine_label_names.txt").write_text(names + "\n")
    return root


def reader(root, **options):
    return CIFAR(root, CIFAR.Options(**options))


def test_one_class_is_normal_and_all_others_are_tested_as_anomalies(tmp_path):
    make_cifar(tmp_path)
    assert list_categories(f"cifar:{tmp_path}") == CLASSES
    data = open_dataset(f"cifar:{tmp_path}", category="frog")
    assert Counter((r.split, r.defective) for r in data) == {
        ("train", False): 10,
        ("test", False): 2,
        ("test", True): 18,
    }
    kinds = {r.defect_type for r in data.select("test", True)}
    assert kinds == set(CLASSES) - {"frog"}
    assert "no mask" in data.warnings[0]


def test_the_planes_become_an_image(tmp_path):
    data = open_dataset(f"cifar:{make_cifar(tmp_path)}", category="cat")
    record = next(r for r in data if r.key == "cifar-10-batches-bin/data_batch_2/00013")
    assert np.array_equal(data.image(record), paint(13, 32, 32))


def test_the_folder_of_the_batches_is_enough(tmp_path):
    make_cifar(tmp_path)
    inner, _ = reader(tmp_path / "cifar-10-batches-bin").records("dog")
    outer, _ = reader(tmp_path).records("dog")
    assert [(r.key, r.defect_type) for r in inner] == [(r.key, r.defect_type) for r in outer]


def test_cifar_100_gives_as_many_training_anomalies(tmp_path):
    records, _ = reader(make_cifar(tmp_path), anomalies=True).records("ship")
    train = [r for r in records if r.split == "train"]
    assert Counter(r.defective for r in train) == {False: 10, True: 10}
    assert len({r.defect_type for r in train}) == 11
    assert not {r.key for r in train if r.defective} & {r.key for r in train if not r.defective}


def test_image_trees_are_read_too(tmp_path):
    for split, count in {"train": 3, "test": 2, "cifar100/train": 4}.items():
        for name in ("cat", "dog"):
            make_images(tmp_path / split / name, numbers(count))
    source = reader(tmp_path, anomalies=True)
    assert source.categories() == ("cat", "dog")
    records, _ = source.records("cat")
    assert Counter((r.split, r.defect_type) for r in records) == {
        ("train", "good"): 3,
        ("train", "cat"): 2,
        ("train", "dog"): 1,
        ("test", "good"): 2,
        ("test", "dog"): 2,
    }


def test_pickles_are_never_opened(tmp_path):
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-python.tar.gz").touch()
    with pytest.raises(DataError, match="a pickle and could run anything; get the binary version"):
        reader(tmp_path)


def test_what_is_missing_or_cut_off_is_refused(tmp_path):
    with pytest.raises(DataError, match="neither a folder cifar-10-batches-bin nor train/<class>"):
        reader(tmp_path)
    make_cifar(tmp_path)
    with pytest.raises(DataError, match="Name the normal class"):
        reader(tmp_path).records(None)
    path = tmp_path / "cifar-10-batches-bin/test_batch.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"test_batch\.bin is cut off"):
        reader(tmp_path).records("cat")
    write_binary(path, [11])
    with pytest.raises(DataError, match="image 0 has the class 11 of 10"):
        reader(tmp_path).records("cat")
    path.unlink()
    with pytest.raises(DataError, match=r"test_batch\.bin is missing"):
        reader(tmp_path).records("cat")
    (tmp_path / "cifar-100-binary/fine_label_names.txt").unlink()
    with pytest.raises(DataError, match="anomalies=true needs CIFAR-100"):
        reader(tmp_path, anomalies=True).records("cat")


def test_a_tree_without_test_images_is_refused(tmp_path):
    make_images(tmp_path / "train/cat", numbers(2))
    with pytest.raises(DataError, match=r"test is missing; an image tree"):
        reader(tmp_path).records("cat")
