import numpy as np
import pytest
import torch

from blemish.errors import DataError, OptionError, TrainingError, UnknownNameError
from blemish.run import Run
from blemish.samples import Samples, to_float
from blemish.synthesis.producing import make_gan

GANS = ("dcgan", "wgan_gp")


def trained(name, data, run=None, **options):
    gan = make_gan(name, "tiny", **options)
    gan.learn(Samples(data, gan.geometry()), run or Run(device="cpu"))
    return gan


@pytest.mark.parametrize("name", GANS)
def test_what_is_drawn_has_the_size_and_depends_on_seed_and_number_alone(name, photos):
    run = Run(device="cpu")
    gan = trained(name, photos, run)
    some = list(gan.draw(20, seed=1))
    assert {i.shape for i in some} == {(50, 30, 3)}
    assert {i.dtype for i in some} == {np.dtype(np.uint8)}
    assert not np.array_equal(some[0], some[1])
    # A batch of another size may round in another order.
    (again,) = gan.draw(1, seed=1, first=17)
    assert np.abs(again.astype(int) - some[17]).max() <= 1
    assert not np.array_equal(next(gan.draw(1, seed=2)), some[0])
    values = gan.judge(to_float(np.stack(some)))
    assert values.shape == (20,)
    assert np.isfinite(values).all()
    assert all(len(curve) == 2 for curve in run.history.values())


@pytest.mark.parametrize("name", GANS)
def test_the_same_seed_gives_the_same_images_and_another_seed_others(name, photos):
    one, two = (next(trained(name, photos).draw(1, seed=0)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    other = next(trained(name, photos, Run(seed=1, device="cpu")).draw(1, seed=0))
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("name", GANS)
def test_a_stopped_training_goes_on_and_ends_the_same(name, photos, tmp_path):
    whole = next(trained(name, photos, epochs=3).draw(1, seed=0))
    with pytest.raises(KeyboardInterrupt):
        trained(name, photos, Run(device="cpu", checkpoint=tmp_path, progress=stop), epochs=3)
    said = []
    run = Run(device="cpu", checkpoint=tmp_path, say=said.append)
    resumed = next(trained(name, photos, run, epochs=3).draw(1, seed=0))
    np.testing.assert_array_equal(resumed, whole)
    assert "goes on after epoch 1" in said[-1]
    with pytest.raises(TrainingError, match=r"options.latent is 8 there and 9 now"):
        trained(name, photos, Run(device="cpu", checkpoint=tmp_path), epochs=3, latent=9)


def stop(stage, done, total):
    """In the middle of the second epoch."""
    if done == total // 3 + 2:
        raise KeyboardInterrupt


def test_the_critic_steps_five_times_per_step_of_the_generator(photos):
    gan = make_gan("wgan_gp", "tiny", epochs=4)
    names, step = [], gan.step

    def watched(networks, real, now):
        update = now.update
        object.__setattr__(now, "update", lambda n, loss: (names.append(n), update(n, loss)))
        return step(networks, real, now)

    gan.step = watched
    gan.learn(Samples(photos, gan.geometry()), Run(device="cpu"))
    assert names == (["judge"] * 5 + ["generator"]) * 2 + ["judge"] * 2


def test_what_draws_is_a_running_mean_or_the_last_generator(photos):
    mean, last = (trained("dcgan", photos, average=a) for a in (0.999, 0.0))
    assert not np.array_equal(next(mean.draw(1, 0)), next(last.draw(1, 0)))
    assert not any(p.isnan().any() for p in mean.generator_.state_dict().values())
    assert not mean.generator_.training
    assert torch.is_grad_enabled()


def test_too_few_photos_are_refused_with_the_number_that_is_enough(photos):
    few = photos.select(keys=[r.key for r in photos][:31])
    with pytest.raises(DataError, match=r"31 good images of parts are too few .* below 32"):
        trained("dcgan", few)


def test_sizes_that_the_layers_cannot_make_are_refused_with_one_that_they_can():
    with pytest.raises(OptionError, match=r"multiple of 10 .*: such as 30x50"):
        make_gan("dcgan", "tiny", image_size="33x50")
    with pytest.raises(OptionError, match="must be WIDTHxHEIGHT"):
        make_gan("wgan_gp", image_size="256")
    with pytest.raises(UnknownNameError, match="Did you mean 'wgan_gp'"):
        make_gan("wgan-gp")
    with pytest.raises(UnknownNameError, match="Known: small, thesis, tiny"):
        make_gan("dcgan", "large")


def test_the_small_preset_draws_120_by_200_with_32_channels():
    gan = make_gan("wgan_gp", "small")
    assert gan.size == (200, 120)
    assert gan.options.channels == 32
    assert make_gan("dcgan", "thesis").size == (400, 240)
