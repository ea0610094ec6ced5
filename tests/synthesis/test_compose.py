import numpy as np
import pytest

from blemish.datasets.base import image_digest
from blemish.datasets.opening import open_dataset
from blemish.datasets.synthetic import Made, SyntheticManifest, is_marked, write_marked
from blemish.errors import DataError
from blemish.images import read_image
from blemish.synthesis.compose import compose


def sub_parts(folder, colour, lights, origins=("a",), width=30, height=40):
    """One image of a colour per light; noise keeps them apart."""
    made = []
    for i, light in enumerate(lights):
        noise = np.random.default_rng(i).normal(0, 4, (height, width, 3))
        image = (np.array(colour) * light + noise).clip(0, 255).astype(np.uint8)
        write_marked(folder / f"images/{i}.png", image)
        made.append(Made(f"images/{i}.png", image_digest(image), {"number": i, "seed": 0}))
    SyntheticManifest({"gan": folder.name}, origins, tuple(made)).write(folder)
    return folder


@pytest.fixture
def folders(tmp_path):
    lights = [0.9, 1.0, 1.1]
    return [
        sub_parts(tmp_path / "anode", (150, 120, 90), lights, ("a", "b")),
        sub_parts(tmp_path / "glass", (60, 80, 100), lights, ("b", "c")),
    ]


def test_each_part_takes_on_the_light_of_the_one_above(folders, tmp_path):
    path = compose(folders, tmp_path / "whole", feather=0)
    manifest = SyntheticManifest.read(path)
    assert manifest.origins == ("a", "b", "c")
    lights = set()
    for made in manifest.images:
        assert is_marked(path.parent / made.file)
        image = read_image(path.parent / made.file).astype(float)
        assert image.shape == (80, 30, 3)
        above = image[:40].mean(axis=(0, 1)) / (150, 120, 90)
        below = image[40:].mean(axis=(0, 1)) / (60, 80, 100)
        np.testing.assert_allclose(above, below, atol=0.03)
        lights.add(round(float(above.mean()), 1))
    assert lights == {0.9, 1.0, 1.1}, "no sub-part is used twice"


def test_the_manifest_names_the_parts_of_each_whole(folders, tmp_path):
    manifest = SyntheticManifest.read(compose(folders, tmp_path / "whole", count=2, seed=3))
    assert len(manifest.images) == 2
    for made in manifest.images:
        assert [part["folder"] for part in made.of["parts"]] == ["anode", "glass"]
        assert all(part["of"]["seed"] == 0 for part in made.of["parts"])
    again = SyntheticManifest.read(compose(folders, tmp_path / "again", count=2, seed=3))
    assert again.images == manifest.images
    assert all(r.synthetic for r in open_dataset(tmp_path / "whole"))


def test_the_seam_is_feathered_and_nothing_else_is_touched(folders, tmp_path):
    hard, soft = (
        read_image(compose(folders, tmp_path / str(f), 1, feather=f).parent / "images/00000.png")
        for f in (0, 8)
    )
    np.testing.assert_array_equal(hard[:32], soft[:32])
    np.testing.assert_array_equal(hard[48:], soft[48:])
    steps = [np.abs(np.diff(i[30:50].astype(float).mean(axis=(1, 2)))).max() for i in (hard, soft)]
    assert steps[1] < steps[0] / 3


def test_parts_that_do_not_go_together_are_refused(folders, tmp_path):
    with pytest.raises(DataError, match="1 folders make no whole part"):
        compose(folders[:1], tmp_path / "whole")
    with pytest.raises(DataError, match="4 whole parts were asked for, but one folder has 3"):
        compose(folders, tmp_path / "whole", count=4)
    wide = sub_parts(tmp_path / "wide", (1, 2, 3), [1, 1, 1], width=31)
    with pytest.raises(DataError, match=r"different widths \(anode 30 px, wide 31 px\)"):
        compose([folders[0], wide], tmp_path / "whole")
    manifest = folders[1] / "synthetic.json"
    manifest.write_text(manifest.read_text().replace('"glass"', '"real"'))
    with pytest.raises(DataError, match="was changed after it was written"):
        compose(folders, tmp_path / "whole")
