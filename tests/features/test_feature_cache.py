import errno
import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from blemish import files
from blemish.backbones.filter_bank import FilterBank
from blemish.errors import BudgetError, OptionError
from blemish.features import feature_cache
from blemish.features.feature_cache import MARKER, SUFFIX, FeatureCache, cached
from blemish.methods.base import Run
from blemish.methods.patchcore import PatchCore, PatchCoreOptions
from blemish.preprocess import Geometry
from blemish.samples import Samples, to_float
from drawn import DataSet, draw_good, good_records

SPAWN = multiprocessing.get_context("spawn")


class Counting:
    """The filter bank, counting the views that it is asked for."""

    def __init__(self, weight: float = 0.0, slow: float = 0.0):
        self._inner = FilterBank((8, 16))
        self.strides, self.channels = self._inner.strides, self._inner.channels
        self.multiple = self._inner.multiple
        self.weight, self.slow, self.views = weight, slow, 0

    def __call__(self, x):
        self.views += len(x)
        time.sleep(self.slow)
        return [m + np.float32(self.weight) for m in self._inner(x)]

    def state(self):
        header, _ = self._inner.state()
        return header, {"weight": np.asarray(self.weight)}


def views(*seeds, height=32, width=48):
    return to_float(np.stack([draw_good(seed, height, width) for seed in seeds]))


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*/*{SUFFIX}"))


def test_what_is_known_is_not_computed_again(tmp_path):
    backbone = Counting()
    cache = FeatureCache(backbone, tmp_path)
    first = cache(views(1, 2, 3))
    assert backbone.views == 3
    again = FeatureCache(backbone, tmp_path)(views(3, 4, 1))
    assert backbone.views == 4
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(other[0], one[2])
        np.testing.assert_array_equal(other[2], one[0])


def test_features_are_those_of_the_backbone_in_half_precision_also_the_first_time(tmp_path):
    cache = FeatureCache(Counting(), tmp_path)
    expected = Counting()(views(1, 2))
    for _ in range(2):
        for found, exact in zip(cache(views(1, 2)), expected, strict=True):
            assert found.dtype == np.float32
            np.testing.assert_array_equal(found, exact.astype(np.float16).astype(np.float32))


def test_remembered_features_are_read_only_memory_maps_of_the_file(tmp_path):
    cache = FeatureCache(Counting(), tmp_path)
    (maps,) = cache.remember(views(1))
    assert [m.shape for m in maps] == [(4, 6, 55), (2, 3, 55)]
    for found in maps:
        assert isinstance(found, np.memmap)
        assert found.dtype == np.float16
        assert not found.flags.writeable


def test_values_beyond_half_precision_are_held_at_its_limit(tmp_path):
    cache = FeatureCache(Counting(weight=1e6), tmp_path)
    assert np.isfinite(cache(views(1))[0]).all()


def test_other_weights_other_sizes_and_other_pixels_are_other_entries(tmp_path, monkeypatch):
    for weight in (0.0, 1.0):
        FeatureCache(Counting(weight), tmp_path)(views(1))
    FeatureCache(Counting(), tmp_path)(views(1, height=64))
    x = views(1)
    x[0, 0, 0, 0] += 1e-3
    FeatureCache(Counting(), tmp_path)(x)
    monkeypatch.setattr(feature_cache, "_versions", lambda: {"torch": "another"})
    FeatureCache(Counting(), tmp_path)(views(1))
    assert len(entries(tmp_path)) == 5


def test_it_stands_in_for_its_backbone(tmp_path):
    backbone = Counting()
    cache = FeatureCache(backbone, tmp_path)
    assert (cache.strides, cache.channels, cache.multiple) == ((8, 16), (55, 55), 16)
    assert cache.state() == backbone.state()


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "foreign"])
def test_a_damaged_entry_is_never_read_but_made_anew(tmp_path, damage):
    backbone = Counting()
    cache = FeatureCache(backbone, tmp_path)
    expected = cache(views(1))
    (path,) = entries(tmp_path)
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[-1] ^= 1
    elif damage == "foreign":
        content[:8] = b"anything"
    path.write_bytes({"cut": content[:-2], "empty": b""}.get(damage, content))
    np.testing.assert_array_equal(cache(views(1))[0], expected[0])
    assert backbone.views == 2
    cache(views(1))
    assert backbone.views == 2


def test_the_folder_may_be_deleted_at_any_time(tmp_path):
    backbone = Counting()
    cache = FeatureCache(backbone, tmp_path / "cache")
    (before,) = cache.remember(views(1))
    kept = np.array(before[0])
    shutil.rmtree(tmp_path / "cache")
    if os.name == "posix":
        np.testing.assert_array_equal(before[0], kept)
    np.testing.assert_array_equal(cache(views(1))[0][0], kept)
    assert (tmp_path / "cache" / MARKER).is_file()
    FeatureCache(backbone, tmp_path / "cache")(views(1))
    assert backbone.views == 2


def test_an_entry_that_is_deleted_right_after_writing_does_no_harm(tmp_path, monkeypatch):
    cache = FeatureCache(Counting(), tmp_path)
    monkeypatch.setattr(cache, "_write", lambda path, maps: None)
    assert len(cache(views(1, 2))[0]) == 2


def fill(folder: str, slow: float) -> None:
    cache = FeatureCache(Counting(slow=slow), folder)
    for seed in range(12):
        cache(views(seed))


def test_two_processes_fill_one_cache(tmp_path):
    processes = [SPAWN.Process(target=fill, args=(str(tmp_path), 0.01)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert len(entries(tmp_path)) == 12
    backbone = Counting()
    cache = FeatureCache(backbone, tmp_path)
    for seed in range(12):
        half = Counting()(views(seed))[0].astype(np.float16)
        np.testing.assert_array_equal(cache(views(seed))[0], half.astype(np.float32))
    assert backbone.views == 0


def write_slowly(folder: str) -> None:
    """Writes the first entry and half of the second one, then waits to be killed."""
    cache = FeatureCache(Counting(), folder)
    cache(views(0))

    def hang(descriptor: int) -> None:
        Path(folder, "halfway").touch()
        time.sleep(60)

    files.os.fsync = hang
    cache(views(1))


def test_after_a_kill_no_half_written_entry_is_read(tmp_path):
    folder = tmp_path / "cache"
    process = SPAWN.Process(target=write_slowly, args=(str(folder),))
    process.start()
    deadline = time.monotonic() + 60
    while not (folder / "halfway").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, getattr(signal, "SIGKILL", signal.SIGTERM))
    process.join(60)
    (left_over,) = folder.glob("*/.*.tmp")
    backbone = Counting()
    cache = FeatureCache(backbone, folder)
    cache(views(0, 1))
    assert backbone.views == 1
    cache.reserve(1, (32, 48), str)
    assert left_over.exists(), "it might belong to a living process"
    os.utime(left_over, (1, 1))
    cache.reserve(1, (32, 48), str)
    assert not left_over.exists()


def test_the_bytes_are_told_before(tmp_path):
    cache = FeatureCache(Counting(), tmp_path, limit_mb=5)
    said = []
    cache.reserve(100, (32, 48), said.append)
    cache(views(1))
    (path,) = entries(tmp_path)
    assert path.stat().st_size == cache.view_bytes((32, 48)) == 16 + 2 * 55 * (24 + 6)
    assert "100 views of 0.00 MB, 0 MB in all" in said[0]
    assert "(at most 5 MB)" in said[0]


def test_a_run_that_needs_more_than_the_limit_is_refused_before_it_starts(tmp_path):
    cache = FeatureCache(Counting(), tmp_path, limit_mb=0.001)
    with pytest.raises(BudgetError, match=r"allow more \(feature_cache_mb\)"):
        cache.reserve(1, (32, 48), str)


def test_a_run_that_needs_more_than_the_disk_has_is_refused_before_it_starts(tmp_path):
    cache = FeatureCache(Counting(), tmp_path, limit_mb=1e15)
    with pytest.raises(BudgetError, match=r"MB are free, .* Free some disk space"):
        cache.reserve(10**12, (32, 48), str)


def test_the_oldest_entries_go_when_room_is_needed(tmp_path):
    cache = FeatureCache(Counting(), tmp_path)
    for age, seed in enumerate([3, 1, 2]):
        cache(views(seed))
        newest = max(entries(tmp_path), key=lambda p: p.stat().st_mtime_ns)
        os.utime(newest, (1000 + age, 1000 + age))
    cache(views(3))  # used again: now the newest
    each = cache.view_bytes((32, 48))
    backbone = Counting()
    small = FeatureCache(backbone, tmp_path, limit_mb=3 * each / 1e6)
    small.reserve(2, (32, 48), str)
    assert len(entries(tmp_path)) == 1
    small(views(3))
    assert backbone.views == 0


def test_the_limit_holds_without_a_reservation_too(tmp_path):
    cache = FeatureCache(Counting(), tmp_path)
    cache._limit = 2 * cache.view_bytes((32, 48))
    cache(views(1, 2))
    with pytest.raises(BudgetError, match="has reached"):
        cache(views(3))


def test_a_full_disk_is_a_clear_error(tmp_path, monkeypatch):
    cache = FeatureCache(Counting(), tmp_path)

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(feature_cache, "write_atomically", full)
    with pytest.raises(BudgetError, match=r"No space left.*deleting the cache is always safe"):
        cache(views(1))
    assert entries(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BudgetError, match="cannot be written"):
        FeatureCache(Counting(), tmp_path / "file")


def test_a_file_that_another_process_holds_open_is_as_good(tmp_path, monkeypatch):
    cache = FeatureCache(Counting(), tmp_path)
    write = files.write_atomically

    def in_use(path, content):
        write(path, content)
        raise PermissionError("as on Windows, where another process was quicker")

    monkeypatch.setattr(feature_cache, "write_atomically", in_use)
    assert cache(views(1))[0].shape == (1, 4, 6, 55)


@pytest.mark.parametrize("content", ['{"version": 99}', "{", "[]", "{}"])
def test_a_cache_of_another_version_is_refused(tmp_path, content):
    (tmp_path / MARKER).write_text(content)
    with pytest.raises(OptionError, match=r"delete the folder \(always safe\)"):
        FeatureCache(Counting(), tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "photos").mkdir()
    with pytest.raises(OptionError, match="is no feature cache, and not empty"):
        FeatureCache(Counting(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["photos"]


def test_opening_a_cache_says_its_version(tmp_path):
    FeatureCache(Counting(), tmp_path / "new")
    assert json.loads((tmp_path / "new" / MARKER).read_text()) == {"version": 1}


def samples(count=6, **geometry):
    return Samples(DataSet("d", good_records(count)), Geometry((64, 96), multiple=8, **geometry))


def test_without_a_folder_there_is_no_cache():
    backbone = Counting()
    assert cached(backbone, samples(), Run()) is backbone


def test_nothing_is_reserved_for_nothing(tmp_path):
    backbone = Counting()
    assert cached(backbone, samples(0), Run(feature_cache=tmp_path)) is backbone


@pytest.mark.parametrize(("tile", "expected"), [(0, "6 views"), (32, "72 views")])
def test_room_is_made_for_all_views(tmp_path, tile, expected):
    said = []
    run = Run(feature_cache=tmp_path, say=said.append)
    cached(Counting(), samples(tile=tile), run)
    assert f"Feature cache: {expected} of" in said[0]


def test_patchcore_learns_the_same_from_a_cache_up_to_half_precision(tmp_path):
    def learn(run):
        method = PatchCore(PatchCoreOptions(coreset=0.1))
        method.learn(samples(), run)
        return method

    plain = learn(Run())
    first = learn(Run(feature_cache=tmp_path))
    again = learn(Run(feature_cache=tmp_path))
    assert len(entries(tmp_path)) == 6
    np.testing.assert_array_equal(again.bank_, first.bank_)
    x = to_float(np.stack([draw_good(i) for i in (50, 51)]))
    valid = np.ones(x.shape[:3], bool)
    expected = plain.predict_batch(x, valid, ["", ""]).maps
    np.testing.assert_allclose(again.predict_batch(x, valid, ["", ""]).maps, expected, rtol=0.05)
