"""`vtok eval` and `vtok stats`: that figures are those of the product, that runs go on, and what is refused."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.cli.samples import files_under, pixels
from tests.threads import threads
from tests.train.two_processes import launch
from vtok import compress, decompress
from vtok.data.pictures import read_picture
from vtok.eval.backbones.base import Backbone
from vtok.eval.distributions.frechet import frechet_distance
from vtok.eval.pairs.psnr import psnr
from vtok.eval.pairs.ssim import ssim
from vtok.eval.run import jobs
from vtok.eval.run.reconstructions import Reconstructions
from vtok.eval.run.record_file import read_records
from vtok.eval.run.references import gaussian_of
from vtok.tokenizers.linear import LinearTokenizer
from vtok.tokenizers.titok_vae import TitokVae

NUM = 11


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The pictures are small."""
    with threads(1):
        yield


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Work of one test is not that of another."""
    monkeypatch.setenv("VTOK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pictures(tmp_path):
    """Pictures of 32 pixels a side: 2 x 2 tiles."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(NUM):
        Image.fromarray(pixels(32, 32, seed=i)).save(folder / f"{i:02d}.png")
    return folder


class Means(Backbone):
    """Mean colours of quarters and of the whole, in place of a network."""

    digest = "0" * 64
    dims = {"features": 6, "logits": 3, "spatial": 3}  # noqa: RUF012

    def __init__(self):
        nn.Module.__init__(self)
        self.name = "inception"

    def describe(self):
        return {"name": self.name, "digest": self.digest, "resize": "none"}

    def forward(self, images):
        half = images.shape[2] // 2
        upper, lower = images[:, :, :half].mean((2, 3)), images[:, :, half:].mean((2, 3))
        return {"features": torch.cat([upper, lower], 1), "logits": images.mean((2, 3)) / 50, "spatial": images[:, :, 0, 0]}


@pytest.fixture
def network(monkeypatch):
    """A backbone that needs no weights."""
    monkeypatch.setattr("vtok.eval.backbones.registry.open_backbone", lambda *_, **__: Means())


def record_of(vtok, *arguments):
    """The record that a command writes."""
    result = vtok("eval", *arguments, "-o", "record.json")
    assert (result.code, result.err) == (0, "")
    (record,) = read_records(Path("record.json"))
    return record


@pytest.fixture(autouse=True)
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def without_times(record):
    return {key: value for key, value in record.items() if key != "seconds"}


def test_figures_and_sizes_are_those_of_the_product(vtok, model, pictures):
    record = record_of(vtok, model, pictures, "--size", "native", "--tokens", "1,8")
    tokenizer = LinearTokenizer.tiny()
    for row in record["rows"]:
        files = [compress(pictures / f"{i:02d}.png", tokens=row["tokens"], model=tokenizer) for i in range(NUM)]
        decoded = [np.asarray(decompress(file, model=tokenizer)) for file in files]
        originals = [read_picture(pictures / f"{i:02d}.png") for i in range(NUM)]
        assert record["pictures"]["bytes"][str(row["tokens"])] == [len(file) for file in files]
        assert row["bytes"] == pytest.approx(np.mean([len(file) for file in files]))
        assert row["bpp"] == pytest.approx(8 * row["bytes"] / 32**2)
        for name, measure in (("psnr", psnr), ("ssim", ssim)):
            expected = [measure(one, other) for one, other in zip(originals, decoded, strict=True)]
            assert record["pictures"]["values"][name][str(row["tokens"])] == pytest.approx(expected, rel=1e-6)
            assert row["metrics"][name]["value"] == pytest.approx(np.mean(expected), rel=1e-9)


def test_the_record_has_the_protocol_and_the_use_of_codes(vtok, model, pictures):
    record = record_of(vtok, model, pictures, "--size", "native")
    assert [row["tokens"] for row in record["rows"]] == [1, 2, 4, 8]
    assert record["protocol"]["preset"]["name"] == "vtok"
    assert record["subject"]["code_digest"] == LinearTokenizer.tiny().code_digest
    assert record["data"]["pictures"] == NUM
    assert len(record["codes"]["positions"]["entropy_bits"]) == 8
    assert record["codes"]["strings"] == 4 * NUM
    rises = record["rows"][1]["rises"]["psnr"]
    one, two = (np.array(record["pictures"]["values"]["psnr"][n]) for n in "12")
    assert rises == pytest.approx(np.mean(two < one))
    assert record["rows"][0]["rises"] == {}


def test_pictures_are_cropped_to_the_model_s_input_by_default(vtok, model, pictures):
    record = record_of(vtok, model, pictures, "--tokens", "all")
    assert (record["data"]["size"], record["data"]["crop"]) == (16, "resize_center_bicubic")
    assert record["codes"]["strings"] == NUM


def test_batches_do_not_matter(vtok, model, pictures):
    records = [record_of(vtok, model, pictures, "--size", "native", "--tokens", "1,8", "--batch", batch) for batch in (1, 4, 32)]
    for record in records[1:]:
        for own, first in zip(record["rows"], records[0]["rows"], strict=True):
            assert own["metrics"]["psnr"]["value"] == pytest.approx(first["metrics"]["psnr"]["value"], rel=1e-6)


@pytest.mark.usefixtures("network")
def test_a_run_that_was_cut_off_goes_on_and_ends_as_one_that_was_not(vtok, model, pictures, monkeypatch, tmp_path):
    arguments = (model, pictures, "--size", "native", "--metrics", "psnr,ssim,rfid,kid", "--batch", "2", "--allow-small-n")
    monkeypatch.setenv("VTOK_CACHE", str(tmp_path / "another"))
    whole = record_of(vtok, *arguments)
    monkeypatch.setenv("VTOK_CACHE", str(tmp_path / "cache"))
    work, done = Reconstructions.work, []

    def cut_off(self, chunk):
        if len(done) == 3:
            raise RuntimeError("killed")
        done.append(chunk.start)
        work(self, chunk)

    monkeypatch.setattr(Reconstructions, "work", cut_off)
    with pytest.raises(RuntimeError, match="killed"):
        vtok("eval", *arguments)
    monkeypatch.setattr(Reconstructions, "work", lambda self, chunk: (done.append(chunk.start), work(self, chunk)))
    again = record_of(vtok, *arguments)
    assert sorted(done) == [0, 2, 4, 6, 8, 10]
    assert without_times(again) == without_times(whole)


@pytest.mark.usefixtures("network")
def test_features_of_originals_are_taken_once_for_all_models(vtok, model, other_model, pictures, monkeypatch):
    taken = []
    monkeypatch.setattr(Means, "forward", lambda self, images, take=Means.forward: (taken.append(len(images)), take(self, images))[1])
    arguments = (pictures, "--size", "native", "--metrics", "rfid", "--tokens", "all", "--allow-small-n", "--batch", "32")
    record_of(vtok, model, *arguments)
    first = len(taken)
    record_of(vtok, other_model, *arguments)
    assert first == 2
    assert len(taken) - first == 1


@pytest.mark.usefixtures("network")
def test_shares_of_several_processes_make_the_record_of_one(vtok, model, pictures, monkeypatch, tmp_path):
    arguments = (model, pictures, "--size", "native", "--metrics", "psnr,ssim,rfid", "--batch", "2", "--allow-small-n")
    one = record_of(vtok, *arguments)
    monkeypatch.setenv("VTOK_CACHE", str(tmp_path / "another"))
    do = jobs.do
    for rank in (2, 0):
        monkeypatch.setattr(jobs, "do", lambda *given, rank=rank, **_: do(*given[:3], rank=rank, world_size=3))
        with pytest.raises(AssertionError):  # the last share is missing
            record_of(vtok, *arguments)
    monkeypatch.setattr(jobs, "do", do)
    assert without_times(record_of(vtok, *arguments)) == without_times(one)


def test_two_launched_processes_give_the_record_of_one(vtok, model, pictures, tmp_path):
    arguments = (model, pictures, "--size", "native", "--batch", "2", "--device", "cpu")
    one = record_of(vtok, *arguments, "--cache", tmp_path / "one")
    options = [str(argument) for argument in (*arguments, "--cache", tmp_path / "two", "-o", tmp_path / "two.json")]
    launch("vtok", "eval", *options)
    (two,) = read_records(tmp_path / "two.json")
    assert without_times(two) == without_times(one)


@pytest.mark.usefixtures("network")
def test_distances_are_those_of_the_features(vtok, model, pictures):
    record = record_of(vtok, model, pictures, "--size", "native", "--metrics", "rfid,sfid,is,precision", "--tokens", "1", "--allow-small-n")
    tokenizer = LinearTokenizer.tiny()
    originals = [read_picture(pictures / f"{i:02d}.png") for i in range(NUM)]
    decoded = [np.array(decompress(compress(picture, tokens=1, model=tokenizer), model=tokenizer)) for picture in originals]
    sets = [torch.from_numpy(np.stack(part)).permute(0, 3, 1, 2).float() for part in (decoded, originals)]
    expected = frechet_distance(*(gaussian_of(Means()(part)["features"]) for part in sets))
    metrics = record["rows"][0]["metrics"]
    assert metrics["rfid"]["value"] == pytest.approx(expected, rel=1e-6)
    assert 1 <= metrics["is"]["value"] <= 3
    assert 0 <= metrics["precision"]["value"] <= 1
    assert record["protocol"]["backbones"]["inception"]["digest"] == "0" * 64


@pytest.mark.usefixtures("network")
def test_few_pictures_have_no_frechet_distance_but_a_kernel_distance(vtok, model, pictures):
    result = vtok("eval", model, pictures, "--size", "native", "--metrics", "rfid", "--tokens", "1", "--count", "5", "--json")
    (row,) = result.records
    assert row["metrics"]["rfid"]["value"] is None
    assert "5 pictures do not fill 6 dimensions" in row["metrics"]["rfid"]["reason"]
    assert math.isfinite(row["metrics"]["kid"]["value"])


def test_json_has_a_line_for_each_length_with_the_protocol(vtok, model, pictures):
    records = vtok("eval", model, pictures, "--json").records
    assert [record["tokens"] for record in records] == [1, 2, 4, 8]
    assert all(record["protocol"]["preset"]["name"] == "vtok" and "pictures" not in record for record in records)


def test_the_table_has_a_line_for_each_length(vtok, model, pictures):
    result = vtok("eval", model, pictures, "--tokens", "1,all")
    head, first, last, codes, data = result.out.decode().splitlines()
    assert head.split()[:3] == ["tokens", "bytes", "bpp"]
    assert (first.split()[0], last.split()[0]) == ("1", "8")
    assert codes.startswith("Codes over 11 strings: usage")
    assert data == "11 pictures of pictures, 16 x 16 pixels, preset vtok"


def test_pictures_that_cannot_be_read_are_named_and_counted(vtok, model, pictures):
    (pictures / "03.png").write_bytes(b"no picture")
    (pictures / "07.png").write_bytes((pictures / "07.png").read_bytes()[:100])
    result = vtok("eval", model, pictures, "--tokens", "all", "--json")
    assert result.code == 3
    assert result.records[0]["data"]["pictures"] == NUM - 2
    assert "2 of 11 pictures failed" in result.err
    assert all(name in result.err for name in ("03.png", "07.png"))


def test_a_continuous_model_has_no_size(vtok, pictures, tmp_path):
    TitokVae.tiny().save_pretrained(tmp_path / "vae")
    record = record_of(vtok, tmp_path / "vae", pictures)
    assert [row["bpp"] for row in record["rows"]] == [None] * len(record["rows"])
    assert record["codes"] is None
    assert record["rows"][-1]["metrics"]["psnr"]["value"] > 0


def test_noise_depends_on_the_picture_alone(vtok, flow_model, pictures):
    arguments = (flow_model, pictures, "--tokens", "all", "--steps", "2")
    first = record_of(vtok, *arguments, "--batch", "3")["pictures"]["values"]["psnr"]
    assert record_of(vtok, *arguments, "--batch", "11")["pictures"]["values"]["psnr"]["6"] == pytest.approx(first["6"], rel=1e-5)
    assert record_of(vtok, *arguments, "--seed", "5")["pictures"]["values"]["psnr"]["6"] != pytest.approx(first["6"], rel=1e-5)


def test_a_picture_of_the_curves_and_a_gallery_are_drawn(vtok, model, pictures, tmp_path):
    pytest.importorskip("matplotlib", reason="needs the extra `eval`")
    record_of(vtok, model, pictures, "--plot", tmp_path / "plot.png", "--gallery", tmp_path / "gallery.png")
    assert read_picture(tmp_path / "plot.png").std() > 5
    height, width = read_picture(tmp_path / "gallery.png").shape[:2]
    assert height > 6 * 160
    assert width > 5 * 160
    beside = ("--beside", "record.json", "--plot", tmp_path / "both.png")
    assert vtok("eval", model, pictures, *beside).code == 0


@pytest.mark.usefixtures("network")
def test_samples_are_compared_with_pictures_and_with_stored_statistics(vtok, pictures, tmp_path):
    samples = tmp_path / "samples"
    samples.mkdir()
    for i in range(8):
        Image.fromarray(pixels(32, 32, seed=100 + i)).save(samples / f"{i}.png")
    assert vtok("stats", pictures, "-o", "ref.npz", "--size", "32", "--rows").code == 0
    names = ("--metrics", "gfid,kid,is,precision,recall")
    found = [vtok("eval", "--samples", samples, "--reference", against, *names, "--json").records[0] for against in (pictures, "ref.npz")]
    assert found[0]["metrics"] == found[1]["metrics"]
    sets = [
        torch.stack([torch.from_numpy(read_picture(f)).permute(2, 0, 1).float() for f in sorted(p.iterdir())]) for p in (samples, pictures)
    ]
    expected = frechet_distance(*(gaussian_of(Means()(part)["features"]) for part in sets))
    assert found[0]["metrics"]["gfid"]["value"] == pytest.approx(expected, rel=1e-9)
    assert found[1]["reference"]["says"]["pictures"] == NUM


@pytest.mark.usefixtures("network")
def test_samples_in_an_array_and_adm_s_reference_are_read(vtok):
    batch = np.stack([pixels(32, 32, seed=i) for i in range(9)])
    np.savez("samples.npz", batch)
    rows = Means()(torch.from_numpy(batch).permute(0, 3, 1, 2).float())["features"]
    gaussian = gaussian_of(rows)
    np.savez("adm.npz", arr_0=batch, mu=gaussian.mean.numpy(), sigma=gaussian.covariance.numpy())
    result = vtok("eval", "--samples", "samples.npz", "--reference", "adm.npz", "--metrics", "gfid", "--json")
    assert result.records[0]["metrics"]["gfid"]["value"] == pytest.approx(0, abs=1e-6)


def refused(vtok, *arguments):
    before = files_under(Path())
    result = vtok(*arguments)
    assert result.code == 2, result.err
    assert not [name for name in files_under(Path()) if name not in before and not str(name).startswith("cache")]
    return result.line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--metrics", "psnr,lpip"), "no metric 'lpip'; did you mean lpips?"),
        (("--metrics", "gfid"), "no metric 'gfid'"),
        (("--preset", "titock"), "titok"),
        (("--tokens", "9"), "9 tokens do not decode"),
        (("--tokens", "x"), "--tokens takes numbers"),
        (("--steps", "3"), "steps"),
        (("--size", "8"), "SSIM"),
        (("-o", "record.txt"), ".json"),
        (("-o", "nowhere/record.json"), "nowhere"),
        (("--plot", "plot.pdf"), ".png"),
        (("--reference", "ref.npz"), "--reference goes with --samples"),
        (("--beside", "nothing.json", "--plot", "p.png"), "nothing.json"),
        (("--metrics", "rfid", "--gallery", "g.png"), "inception"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(vtok, model, pictures, options, message, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-hub"))
    assert message in refused(vtok, "eval", model, pictures, *options)


def test_a_missing_network_is_named_with_its_place(vtok, model, pictures, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "no-hub"))
    line = refused(vtok, "eval", model, pictures, "--metrics", "rfid")
    assert "6726825d" in line
    assert "VTOK_INCEPTION_WEIGHTS" in line


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize(
    ("arrays", "metrics", "message"),
    [
        ({"mu": np.zeros(6)}, "gfid", "has no mu and sigma"),
        ({"mu": np.zeros(6), "sigma": np.eye(5)}, "gfid", "expected mu"),
        ({"mu": np.full(6, np.nan), "sigma": np.eye(6)}, "gfid", "numbers that are none"),
        ({"mu": np.zeros(5), "sigma": np.eye(5)}, "gfid", "dim"),
        ({"mu": np.zeros(6), "sigma": np.eye(6)}, "kid", "has no features"),
        ({"mu": np.zeros(6), "sigma": np.eye(6)}, "sfid", "has no mu_s and sigma_s"),
        ({"mu": np.zeros(6), "sigma": np.eye(6), "vtok_stats": np.zeros(3, np.uint8)}, "gfid", "vtok_stats"),
    ],
)
def test_a_reference_without_what_is_needed_is_refused(vtok, pictures, arrays, metrics, message):
    np.savez("ref.npz", **arrays)
    assert message in refused(vtok, "eval", "--samples", pictures, "--reference", "ref.npz", "--metrics", metrics, "--allow-small-n")


@pytest.mark.usefixtures("network")
def test_a_reference_of_another_preset_or_network_is_refused(vtok, pictures, monkeypatch):
    assert vtok("stats", pictures, "-o", "ref.npz", "--size", "32", "--preset", "adm").code == 0
    line = refused(vtok, "eval", "--samples", pictures, "--reference", "ref.npz", "--metrics", "gfid")
    assert "a reference of the preset adm, asked for vtok" in line
    monkeypatch.setattr(Means, "digest", "1" * 64)
    line = refused(vtok, "eval", "--samples", pictures, "--reference", "ref.npz", "--metrics", "gfid", "--preset", "adm")
    assert "made with digest" in line


@pytest.mark.usefixtures("network")
def test_pictures_of_several_sizes_are_no_set(vtok, model, pictures):
    Image.fromarray(pixels(40, 32)).save(pictures / "zz.png")
    line = refused(vtok, "eval", model, pictures, "--size", "native", "--metrics", "rfid")
    assert "32 x 40" in line
    assert "--size" in line
    assert "--size" in refused(vtok, "eval", "--samples", pictures, "--reference", pictures, "--metrics", "gfid")


@pytest.mark.usefixtures("network")
def test_features_that_are_no_numbers_are_refused(vtok, model, pictures, monkeypatch):
    monkeypatch.setattr(Means, "forward", lambda _, images: {n: torch.full((len(images), d), math.nan) for n, d in Means.dims.items()})
    assert "inception" in refused(vtok, "eval", model, pictures, "--size", "native", "--metrics", "rfid", "--allow-small-n")


def test_samples_take_no_model(vtok, model, pictures):
    assert "--samples takes no MODEL" in refused(vtok, "eval", model, "--samples", pictures)
    assert "name MODEL and DATA" in refused(vtok, "eval")


def test_nothing_readable_is_an_error(vtok, model, tmp_path):
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"x")
    assert "no picture could be read" in refused(vtok, "eval", model, folder)


def test_a_record_is_strict_json(vtok, model, pictures):
    flat = pictures / "99.png"
    Image.new("RGB", (16, 16), (128, 128, 128)).save(flat)
    record_of(vtok, model, pictures, "--tokens", "all")

    def refuse(constant):
        raise AssertionError(constant)

    json.loads(Path("record.json").read_text(), parse_constant=refuse)


def test_no_torch_is_loaded_before_the_options_are_good(vtok, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert vtok("eval", "--help").code == 0
