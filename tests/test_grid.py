import json
import pickle

import pytest

from blemish.benchmark import Result
from blemish.errors import OptionError, TrainingError, UnknownNameError
from blemish.grid import (
    GridData,
    GridRun,
    find_result,
    parse_grid,
    perform,
    plan_runs,
    read_result,
    run_grid,
)

pytestmark = pytest.mark.filterwarnings("ignore::blemish.errors.CalibrationWarning")
PLATES = GridData("battery_plate", options={"good": "12", "defective": "4", "region": "glass"})
GRID = {"neighbours": ("1", "2"), "image_size": ("32", "48")}


def result(run, **figures):
    figures = figures or {"image_auroc": 0.5}
    return Result(
        what=f"grid_{run.id}",
        method=run.method,
        command=run.command,
        data={"name": run.data.where},
        figures={name: {"value": v, "label": name} for name, v in figures.items()},
        seeds=(run.seed,),
        options=dict(run.options),
    )


def test_a_grid_is_read_from_one_text():
    assert parse_grid("latent=32,64:image-size=64") == {
        "latent": ("32", "64"),
        "image_size": ("64",),
    }
    assert parse_grid("") == {}
    for text in ("latent", "latent=", "=3", "a=1:b"):
        with pytest.raises(OptionError, match="no axis of a grid; write latent=32"):
            parse_grid(text)
    for text in ("a=1:a=2", "a=1,1"):
        with pytest.raises(OptionError, match="twice"):
            parse_grid(text)


def test_every_combination_is_planned_once_for_each_seed_and_fold():
    runs = plan_runs(["patchcore", "patchcore"], [PLATES], GRID, seeds=2, folds=3)
    assert len(runs) == len({run.id for run in runs}) == 4 * 2 * 3
    assert runs == plan_runs(["patchcore"], [PLATES], GRID, seeds=2, folds=3)
    assert {(r.seed, r.fold) for r in runs} == {(s, f) for s in range(2) for f in range(3)}
    assert runs[0].options == {"neighbours": "1", "image_size": "32"}


def test_a_run_is_plain_values_that_travel():
    (run,) = plan_runs(["patchcore"], [PLATES])
    assert pickle.loads(pickle.dumps(run)) == run
    assert "--data-set region=glass" in run.command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"methods": []}, "needs a method and a data set"),
        ({"data": []}, "needs a method and a data set"),
        ({"seeds": 0}, "make no run"),
        ({"folds": 1}, "0 or from 2 folds"),
        ({"folds": 9}, "too few for 9 folds"),
        ({"grid": {"neighbours": ["0"]}}, "neighbours"),
        ({"grid": {"latent": ["8"]}}, "Unknown option of .*'latent'"),
        ({"grid": {"seed": ["8"]}}, "'seed' is set twice"),
        ({"grid": GRID, "options": {"image_size": "8"}}, "'image_size' is set twice"),
        ({"preset": "huge"}, "huge"),
        ({"methods": ["patchcor"]}, "Did you mean 'patchcore'"),
        ({"data": [GridData("battery_plates")]}, "Did you mean 'battery_plate'"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_run(arguments, said):
    plan = {"methods": ["patchcore"], "data": [PLATES], **arguments}
    with pytest.raises(Exception, match=said) as caught:
        plan_runs(plan.pop("methods"), plan.pop("data"), plan.pop("grid", None), **plan)
    assert isinstance(caught.value, OptionError | UnknownNameError) or "folds" in said


def test_a_run_gives_figures_prevalence_and_the_score_of_every_image(tmp_path):
    (run, *_) = plan_runs(
        ["patchcore"], [PLATES], preset="tiny", folds=2, options={"calibration": "split"}
    )
    content = read_result(perform(run).write(tmp_path))
    figures = content["figures"]
    (scores,) = content["runs"]
    assert figures["prevalence"]["value"] == sum(scores["defective"]) / len(scores["scores"])
    assert {"image_auroc", "image_ap", "pixel_auroc", "numbers"} <= set(figures)
    # Of the plates with a defect, two have theirs elsewhere: good ones of this region.
    assert len(scores["groups"]) == len(set(scores["groups"])) == (12 + 2) / 2 + 2
    assert content["data"]["fold"] == "1 of 2"
    assert find_result(run, tmp_path).name == f"grid_{run.id}-patchcore-battery_plate.json"


def test_what_is_there_is_not_computed_again(tmp_path):
    runs, done = plan_runs(["patchcore"], [PLATES], GRID), []

    def one(run):
        done.append(run.id)
        if len(done) == 3:
            raise KeyboardInterrupt
        return result(run)

    with pytest.raises(KeyboardInterrupt):
        run_grid(runs, tmp_path, one)
    found = run_grid(runs, tmp_path, one)
    assert done == [runs[i].id for i in (0, 1, 2, 2, 3)]
    assert [content["options"] for content in found] == [run.options for run in runs]


def test_a_run_that_fails_is_said_and_tried_again(tmp_path):
    runs, said = plan_runs(["patchcore"], [PLATES], GRID), []

    def bad(run):
        if run.options["image_size"] == "32":
            raise TrainingError("the loss is not a finite number")
        return result(run)

    assert len(run_grid(runs, tmp_path, bad, say=said.append)) == 2
    assert len(said) == 2
    assert all("image_size=32" in text and "not a finite number" in text for text in said)
    assert len(run_grid(runs, tmp_path, result)) == 4


def test_a_damaged_file_is_named(tmp_path):
    run = GridRun("patchcore", PLATES)
    path = result(run).write(tmp_path)
    path.write_text(json.dumps({"schema": "other"}))
    with pytest.raises(OptionError, match=r"is no results file .*; delete it"):
        run_grid([run], tmp_path)
