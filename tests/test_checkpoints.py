import numpy as np
import pytest
import torch

from blemish.checkpoints import FILE, Checkpoint, differences, open_folder, pack, unpack
from blemish.detector import Detector
from blemish.errors import ModelFileError, TrainingError
from blemish.model_file import ModelFile, write_model_file

STATE = Checkpoint(2, {"loss": [1.0, 0.5]}, {"w": np.arange(3.0)}, {"s": 4})


def test_what_is_written_is_read_back(tmp_path):
    with open_folder(tmp_path / "new", {"method": "vae", "channels": (1, 2)}) as folder:
        assert folder.read() is None
        folder.write(STATE)
        back = folder.read()
    assert (back.epoch, back.history, back.scalars) == (2, {"loss": [1.0, 0.5]}, {"s": 4})
    assert np.array_equal(back.arrays["w"], STATE.arrays["w"])


def test_without_a_folder_nothing_is_kept():
    with open_folder(None, {}) as folder:
        folder.write(STATE)
        assert folder.read() is None


def test_a_second_run_in_the_same_folder_is_refused_until_the_first_ends(tmp_path):
    with open_folder(tmp_path, {}):
        with (
            pytest.raises(TrainingError, match="in use by another training run"),
            open_folder(tmp_path, {}),
        ):
            pass
        with open_folder(tmp_path, {}, first=False) as helper:
            helper.write(STATE)  # a helping process reads only
            assert helper.read() is None
    with open_folder(tmp_path, {}) as folder:
        folder.write(STATE)
        assert folder.read() is not None


def test_a_checkpoint_of_another_run_is_refused_with_what_differs(tmp_path):
    with open_folder(tmp_path, {"method": "vae", "options": {"latent": 64, "beta": 1}}) as folder:
        folder.write(STATE)
    now = {"method": "vae", "options": {"latent": 128, "beta": 1}}
    with (
        open_folder(tmp_path, now) as folder,
        pytest.raises(TrainingError, match=r"run: options\.latent is 64 there and 128 now\. Go on"),
    ):
        folder.read()


def test_differences_are_named_by_their_place():
    assert differences({"a": [1, 2], "b": {"c": 1}}, {"a": (1, 2), "b": {"c": 1}}) == []
    assert differences({"a": 1, "b": {"c": 1}}, {"b": {"c": 2}}) == [
        "a is 1 there and None now",
        "b.c is 1 there and 2 now",
    ]


def test_a_damaged_or_foreign_file_is_refused(tmp_path):
    (tmp_path / FILE).write_bytes(b"not a checkpoint")
    with open_folder(tmp_path, {}) as folder:
        with pytest.raises(ModelFileError, match="truncated"):
            folder.read()
        write_model_file(tmp_path / FILE, ModelFile({"method": "vae"}, {}))
        with pytest.raises(TrainingError, match="no checkpoint of a training run"):
            folder.read()
        folder.write(STATE)
    with pytest.raises(ModelFileError):
        Detector.load(tmp_path / FILE)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.RMSprop, torch.optim.SGD])
def test_networks_and_optimisers_survive_packing(kind):
    def make():
        torch.manual_seed(0)
        network = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
        return network, kind(network.parameters(), lr=0.1)

    def descend(network, optimiser):
        def closure():
            optimiser.zero_grad()
            loss = network(torch.ones(1, 3, 5, 5)).square().mean()
            loss.backward()
            return loss

        optimiser.step(closure)

    network, optimiser = make()
    descend(network, optimiser)
    state = pack(1, {}, {"n": network}, {"o": optimiser})
    assert all(isinstance(a, np.ndarray) for a in state.arrays.values())
    again, its_optimiser = make()
    unpack(state, {"n": again}, {"o": its_optimiser})
    for pair in ((network, optimiser), (again, its_optimiser)):
        descend(*pair)
    assert torch.equal(network.weight, again.weight)
    weight_state = its_optimiser.state[again.weight]
    for value in weight_state.values():
        if value.shape == again.weight.shape:
            assert value.stride() == again.weight.stride()
