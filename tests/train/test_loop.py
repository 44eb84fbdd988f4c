"""Whole runs of the loop on a toy: what they write, what they refuse."""

import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from tests.train.toy import TABLE, ToyTokenizer, entries, tensors, toy_config
from vtok.errors import ConfigError, MissingExtraError, OutputError, TrainingError, WeightsError
from vtok.eval.pairs.lpips import VARIABLE
from vtok.tokenizers.base import Tokenizer
from vtok.train.config import RunConfig
from vtok.train.engine.run_folder import RunFolder
from vtok.train.loop import run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a run with everything in it."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    config = toy_config(image_every=8, validation={"every": 6, "num_pictures": 3, "lengths": [1, 4, 0]}, keep=2)
    run(config, TABLE, folder)
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The folder of a run as `toy_config` has it."""
    return run(toy_config(), TABLE, tmp_path_factory.mktemp("runs") / "plain")


def test_the_folder_has_all_its_parts(finished):
    names = {path.relative_to(finished).as_posix() for path in finished.rglob("*") if path.is_file()}
    model = ("config.json", "model.safetensors", "README.md")
    assert names - {".lock"} == {
        *model,
        *(f"start/{name}" for name in model),
        *(f"best/{name}" for name in model),
        *(f"checkpoints/step-{step:08d}/state.{ending}" for step in (8, 12) for ending in ("json", "safetensors")),
        *(f"images/step-{step:08d}.png" for step in (8, 12)),
        "run.json",
        "log.jsonl",
    }


def test_the_model_is_the_average_and_the_start_is_what_was_prepared(finished):
    averages = {name.removeprefix("ema."): value for name, value in tensors(finished, 12).items() if name.startswith("ema.")}
    model, start = Tokenizer.from_pretrained(finished).state_dict(), Tokenizer.from_pretrained(finished / "start").state_dict()
    assert averages.keys() == {"encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"}
    assert all(torch.equal(model[name], value) for name, value in averages.items())
    assert all(torch.equal(start[name], value) for name, value in ToyTokenizer.tiny().state_dict().items())
    assert not torch.equal(model["encoder.weight"], start["encoder.weight"])


def test_the_models_buffers_are_the_live_ones(finished):
    assert Tokenizer.from_pretrained(finished).state_dict()["seen"] == 12


def test_the_losses_fall(finished):
    losses = [entry["loss"]["tokenizer/pixels"] for entry in entries(finished) if "loss" in entry]
    assert losses[-1] < 0.9 * losses[0]


def test_a_line_of_the_log_says_what_a_step_did(finished):
    lines = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
    line = next(line for line in lines if line["step"] == 3)
    assert line.keys() == {"step", "epoch", "loss", "grad_norm", "learning_rate", "images_per_s", "data_wait_s", "skipped"}
    assert line["epoch"] == 0.1875
    assert line["learning_rate"] == {"tokenizer": 0.01}
    assert line["images_per_s"] > 0
    assert [line["step"] for line in lines if "loss" in line] == [3, 6, 9, 12]


def test_a_line_of_the_log_is_the_mean_since_the_one_before(tmp_path):
    for name, every in (("each", 1), ("thirds", 3)):
        run(toy_config(log_every=every, steps=6), TABLE, tmp_path / name)
    each = [entry["loss"]["tokenizer/pixels"] for entry in entries(tmp_path / "each")]
    thirds = [entry["loss"]["tokenizer/pixels"] for entry in entries(tmp_path / "thirds")]
    assert thirds == pytest.approx([sum(each[:3]) / 3, sum(each[3:]) / 3])


def test_validation_measures_each_length_and_each_position(finished):
    lines = [entry for entry in entries(finished) if "validation" in entry]
    assert [line["step"] for line in lines] == [6, 12]
    found = lines[-1]["validation"]
    assert found["psnr"].keys() == {"1", "4", "8"}
    assert all(5 < value < 40 for value in found["psnr"].values())
    assert len(found["codebook"]["usage"]) == len(found["codebook"]["entropy_bits"]) == 8
    assert found["codebook"]["usage_min"] == pytest.approx(min(min(position) for position in found["codebook"]["usage"]))
    assert 0 < found["codebook"]["entropy_bits_mean"] <= 3


def test_the_best_model_is_the_one_with_the_best_mean(tmp_path):
    """A rate far too high makes the second half worse than the first."""
    config = toy_config(steps=8, ema=0, toy={"learning_rate": 1.0}, validation={"every": 1, "num_pictures": 2, "lengths": [0]})
    run(config, TABLE, tmp_path / "run")
    scores = [entry["validation"]["psnr"]["8"] for entry in entries(tmp_path / "run") if "validation" in entry]
    step = scores.index(max(scores)) + 1
    assert 1 <= step < 8
    assert Tokenizer.from_pretrained(tmp_path / "run" / "best").state_dict()["seen"] == step
    assert json.loads((tmp_path / "run/checkpoints/step-00000008/state.json").read_text())["best"] == max(scores)


def test_a_grid_shows_the_originals_beside_a_few_lengths(finished):
    with Image.open(finished / "images" / "step-00000012.png") as picture:
        grid = np.asarray(picture)
    assert grid.shape[0] == 16 + 4 * (32 + 4)
    assert grid.shape[1] >= 4 + 4 * (32 + 4)  # original, 1, 4 and 8 tokens


def test_the_resolved_configuration_is_beside_the_model(finished):
    config = RunConfig.model_validate_json((finished / "run.json").read_text())
    assert config.sections["toy"]["learning_rate"] == 1e-2
    assert config.train.batch_size == 4


def test_a_finished_run_says_so_and_changes_nothing(finished, caplog):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")}
    config = toy_config(image_every=8, validation={"every": 6, "num_pictures": 3, "lengths": [1, 4, 0]}, keep=2)
    with caplog.at_level(logging.INFO):
        assert run(config, TABLE, finished) == finished
    assert "is finished: 12 steps" in caplog.text
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*.safetensors")} == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 2}, r"train\.batch_size = 4, this one has 2"),
        ({"toy": {"learning_rate": 0.5}}, r"toy\.learning_rate = 0\.01, this one has 0\.5"),
        ({"data": {"num_synthetic": 9}}, r"data\.num_synthetic = 64, this one has 9"),
        ({"steps": 11}, r"train\.steps = 12, this one has 11"),
        ({"steps": 0}, r"train\.steps = 12, this one has 0"),
        ({"ema": 0.5, "precision": "bf16"}, r"train\.ema = 0\.999, this one has 0\.5"),
    ],
)
def test_a_folder_with_another_run_is_refused(plain, changes, words):
    with pytest.raises(ConfigError, match=words):
        run(toy_config(**changes), TABLE, plain)


def test_what_trains_the_same_may_change(plain, caplog):
    with caplog.at_level(logging.INFO):
        run(toy_config(log_every=1, checkpoint_every=99, keep=5, image_every=3, data={"memory_mb": 1}), TABLE, plain)
    assert "is finished" in caplog.text


def test_no_steps_write_the_start_alone(tmp_path):
    run(toy_config(steps=0), TABLE, tmp_path / "run")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["README.md", "config.json", "model.safetensors", "run.json"]


def test_overfitting_without_steps_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"train\.overfit is 3, but train\.steps is 0"):
        run(toy_config(steps=0, overfit=3), TABLE, tmp_path / "run")


def test_steps_of_an_objective_without_gradients_are_refused(tmp_path):
    table = {"linear": "vtok.train.objectives.linear:LinearObjective"}
    values = {"objective": "linear", "train": {"steps": 5}, "linear": {"autoencoder": "pixels", "tile_size": 16, "max_components": 16}}
    config = RunConfig.model_validate(values | {"linear": values["linear"] | {"stages": [{"tokens": 4}]}})
    with pytest.raises(ConfigError, match=r"train\.steps is 5, but linear is fitted without gradient steps"):
        run(config, table, tmp_path / "run")


@pytest.mark.parametrize("log_every", [1, 100])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path, log_every):
    with pytest.raises(TrainingError, match=r"step 7: tokenizer/pixels is nan; the last good checkpoint is .*step-00000004\."):
        run(toy_config(log_every=log_every, toy={"nan_at": 6}), TABLE, tmp_path / "run")
    found = [
        value for step in tmp_path.rglob("state.safetensors") for value in tensors(tmp_path / "run", int(step.parent.name[5:])).values()
    ]
    assert found
    assert all(value.isfinite().all() for value in found)


def test_a_loss_that_is_no_number_before_the_first_checkpoint_names_the_start(tmp_path):
    with pytest.raises(TrainingError, match=r"step 1: .*no checkpoint was written yet, the start is in .*start"):
        run(toy_config(toy={"nan_at": 0}), TABLE, tmp_path / "run")


def test_a_few_pictures_are_learned_by_heart_and_their_psnr_told(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        run(toy_config(overfit=2, steps=100, ema=0.5), TABLE, tmp_path / "run")
    words = next(record.getMessage() for record in caplog.records if record.getMessage().startswith("PSNR of the 2 pictures"))
    start, end = (float(word) for word in words.split() if word.replace(".", "").isdigit() and "." in word)
    assert end > start + 3


def test_gradient_checkpointing_is_refused_where_there_is_none(tmp_path):
    with pytest.raises(ConfigError, match="the family toy cannot do it"):
        run(toy_config(gradient_checkpointing=True), TABLE, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"trackers": ("tensorbord",)}, ConfigError, "did you mean tensorboard"),
        ({"trackers": ("aim",)}, MissingExtraError, "pip install"),
        ({"validation": {"every": 4, "lengths": [1, 9]}}, ConfigError, "9 tokens do not decode"),
        ({"data": {"crop_size": 16}, "validation": {"every": 4, "lengths": [1], "select": "lpips"}}, ConfigError, "31 pixels"),
        ({"batch_size": 3, "accumulate": 2}, ConfigError, r"train\.batch_size 3"),
    ],
)
def test_what_cannot_work_is_said_before_the_first_step(tmp_path, changes, error, words):
    with pytest.raises(error, match=words):
        run(toy_config(**changes), TABLE, tmp_path / "run")
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "README.md").write_text("mine")
    for config in (toy_config(), toy_config(steps=0)):
        with pytest.raises(OutputError, match=r"holds README\.md and no run; name another folder with -o"):
            run(config, TABLE, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]


def test_a_second_run_is_kept_out_while_the_first_goes_on(tmp_path):
    run(toy_config(), TABLE, tmp_path / "run")
    before = sorted(tmp_path.rglob("*"))
    lock = RunFolder(tmp_path / "run").lock()
    with pytest.raises(OutputError, match="another process trains there"):
        run(toy_config(steps=14), TABLE, tmp_path / "run")
    assert sorted(tmp_path.rglob("*")) == before
    lock.release()
    run(toy_config(steps=14), TABLE, tmp_path / "run")


def test_scores_of_pictures_that_are_trained_on_are_called_so(tmp_path, caplog):
    for split, told in (("all", 1), ("train", 0)):
        caplog.clear()
        run(toy_config(data={"split": split}, steps=4, validation={"every": 4, "lengths": [1]}), TABLE, tmp_path / split)
        assert sum("trained on" in line for line in caplog.messages) == told


def test_settings_that_are_none_are_one_line(tmp_path):
    run(toy_config(), TABLE, tmp_path / "run")
    (tmp_path / "run" / "run.json").write_text("[]")
    with pytest.raises(ConfigError, match="no settings of a run"):
        run(toy_config(), TABLE, tmp_path / "run")


def test_selecting_by_lpips_needs_its_weights_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none.safetensors"))
    with pytest.raises(WeightsError, match=r"none\.safetensors"):
        run(toy_config(validation={"every": 4, "lengths": [1], "select": "lpips"}), TABLE, tmp_path / "run")
    assert not (tmp_path / "run" / "log.jsonl").exists()


def test_without_its_weights_lpips_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none.safetensors"))
    run(toy_config(steps=4, validation={"every": 4, "lengths": [1]}), TABLE, tmp_path / "run")
    assert entries(tmp_path / "run")[-1]["validation"].keys() == {"psnr", "codebook"}


def test_a_broken_picture_is_skipped_counted_and_named(tmp_path, caplog):
    (tmp_path / "photos").mkdir()
    for name in "abc":
        Image.fromarray(np.full((40, 40, 3), 90, np.uint8)).save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    with caplog.at_level(logging.WARNING):
        run(toy_config(data={"kind": "folder", "path": str(tmp_path / "photos")}), TABLE, tmp_path / "run")
    assert entries(tmp_path / "run")[-1]["skipped"] == 1
    assert "broken.png" in caplog.text


def test_gradients_may_be_accumulated(tmp_path):
    run(toy_config(), TABLE, tmp_path / "whole")
    run(toy_config(accumulate=4), TABLE, tmp_path / "parts")
    for whole, parts in zip(entries(tmp_path / "whole"), entries(tmp_path / "parts"), strict=True):
        assert parts["loss"] == pytest.approx(whole["loss"], rel=1e-5)


def test_tensorboard_is_told_losses_and_pictures(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

    run(toy_config(steps=6, image_every=6, trackers=("tensorboard",)), TABLE, tmp_path / "run")
    told = EventAccumulator(str(tmp_path / "run" / "logs" / "vtok")).Reload()
    assert {"loss/tokenizer/pixels", "grad_norm/tokenizer", "learning_rate/tokenizer", "images_per_s"} <= set(told.Tags()["scalars"])
    assert [event.step for event in told.Scalars("loss/tokenizer/pixels")] == [3, 6]
    assert told.Tags()["images"] == ["pictures"]
