"""`vtok codebook`: the figures, the picture of the codes, and what is refused before anything is written."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tests.cli.samples import files_under, pixels
from tests.cli.terminal import as_terminal
from tests.conftest import CHECKOUT
from tests.threads import threads
from vtok.cli import report
from vtok.data.crops import resize
from vtok.data.eight_bit import from_eight_bit, to_eight_bit
from vtok.data.pictures import read_picture
from vtok.data.sources import is_held_out
from vtok.eval.codes.codebook import CodebookStatistics
from vtok.tokenizers.base import Tokens
from vtok.tokenizers.fqgan import FqganTokenizer
from vtok.tokenizers.linear import LinearTokenizer
from vtok.tokenizers.titok_vae import TitokVae


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The pictures are small."""
    with threads(1):
        yield


@pytest.fixture
def pictures(tmp_path):
    """Seven pictures at least as large as a tile, 16 pixels."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(7):
        Image.fromarray(pixels(16 + 2 * i, 40 - 2 * i, seed=i)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def factorized(tmp_path):
    """The folder of a tiny tokenizer with two codebooks: tiles of 16 pixels, a map of 16 tokens."""
    FqganTokenizer.tiny().save_pretrained(tmp_path / "factorized")
    return tmp_path / "factorized"


@pytest.fixture
def plot(tmp_path):
    """A picture to write, where matplotlib is there to draw it."""
    pytest.importorskip("matplotlib", reason="needs the extra `eval`")
    return tmp_path / "codes.png"


def middles(folder, numbers, size=16):
    """The squares in the middle of some of the pictures, as a batch."""
    squares = []
    for number in numbers:
        picture = read_picture(folder / f"{number}.png")
        top, left = ((extent - size) // 2 for extent in picture.shape[:2])
        squares.append(picture[top : top + size, left : left + size])
    return from_eight_bit(np.stack(squares))


def figures(rows, name):
    return [row[name] for row in rows]


def test_json_has_the_figures_of_each_position(vtok, model, pictures):
    result = vtok("codebook", model, pictures, "--json")
    (record,) = result.records
    assert (result.code, result.err) == (0, "")
    tokenizer = LinearTokenizer.tiny()
    statistics = CodebookStatistics((16,), 8)
    statistics.update(tokenizer.encode(middles(pictures, range(7))).ids)
    use = statistics.compute()
    assert (record["strings"], record["failed"], record["codebook_sizes"], record["stored_bits"]) == (7, 0, [16], 32)
    assert (record["dead"], record["plot"]) == (list(use.num_dead), None)
    assert figures(record["rows"], "position") == list(range(1, 9))
    assert figures(record["rows"], "used") == use.used[:, 0].tolist()
    for name, values in {
        "usage": use.usage,
        "entropy_bits": use.entropy_bits,
        "entropy_shortfall": use.entropy_shortfall,
        "perplexity": use.perplexity,
        "saved_bits_least": use.saved_bits[0],
        "saved_bits_most": use.saved_bits[1],
    }.items():
        assert figures(record["rows"], name) == values[:, 0].tolist()
    assert (record["saved_bits_least"], record["saved_bits_most"]) == use.saved_bits_of_string


def test_the_table_has_a_line_for_each_position_and_says_how_many_strings_there_were(vtok, model, pictures):
    result = vtok("codebook", model, pictures)
    assert result.code == 0
    head, *rows, dead, saved, strings = result.out.decode().splitlines()
    assert head.split() == ["position", "used", "usage", "entropy", "perplexity", "could", "save", "bits"]
    assert [row.split()[0] for row in rows] == [str(position) for position in range(1, 9)]
    assert dead.endswith(" of 16 codes")
    assert "of the 32 bits of a string" in saved
    assert strings.startswith("Counted on 7 strings: entropy so measured is too low by up to 1.65 bits in the mean")
    assert strings.endswith("more pictures narrow them")


def test_several_codebooks_have_lines_of_their_own(vtok, factorized, pictures):
    result = vtok("codebook", factorized, pictures)
    assert result.code == 0
    head, *rows, first, second, saved, _ = result.out.decode().splitlines()
    assert head.split()[:2] == ["position", "codebook"]
    assert [row.split()[:2] for row in rows] == [[str(position), str(k)] for position in range(1, 17) for k in (1, 2)]
    assert first.endswith(" of 16 codes of codebook 1")
    assert second.endswith(" of 8 codes of codebook 2")
    assert f"of the {16 * (4 + 3)} bits of a string" in saved


def test_batches_do_not_matter(vtok, model, pictures):
    first, second = (vtok("codebook", model, pictures, "--batch", batch, "--json").records for batch in (1, 3))
    assert first == second


def test_fewer_pictures_are_spread_over_the_data(vtok, model, pictures):
    (record,) = vtok("codebook", model, pictures, "--count", 2, "--json").records
    ids = LinearTokenizer.tiny().encode(middles(pictures, [0, 3])).ids
    assert record["strings"] == 2
    assert figures(record["rows"], "used") == [len(own.unique()) for own in ids[:, :, 0].T]


def test_more_pictures_than_there_are_is_all_of_them(vtok, model, pictures):
    (record,) = vtok("codebook", model, pictures, "--count", 99, "--json").records
    assert record["strings"] == 7


def test_whole_pictures_are_resized(vtok, model, pictures):
    (record,) = vtok("codebook", model, pictures, "--whole", "--json").records
    whole = from_eight_bit(np.stack([resize(read_picture(pictures / f"{i}.png"), 16, 16) for i in range(7)]))
    ids = LinearTokenizer.tiny().encode(whole).ids
    assert figures(record["rows"], "used") == [len(own.unique()) for own in ids[:, :, 0].T]


def test_pictures_smaller_than_a_tile_are_enlarged(vtok, model, tmp_path):
    (tmp_path / "small").mkdir()
    Image.fromarray(pixels(5, 9)).save(tmp_path / "small" / "a.png")
    assert vtok("codebook", model, tmp_path / "small", "--json").records[0]["strings"] == 1


def test_a_table_of_pictures_and_its_held_out_part_can_be_read(vtok, model, pictures, tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs the extra `train`")
    import pyarrow.parquet as pq

    rows = [{"bytes": (pictures / f"{i % 7}.png").read_bytes(), "path": f"{i}.png"} for i in range(60)]
    pq.write_table(pa.table({"image": rows}), tmp_path / "pictures.parquet")
    counts = [
        vtok("codebook", model, tmp_path / "pictures.parquet", "--split", split, "--json").records[0]["strings"]
        for split in ("all", "train", "held_out")
    ]
    assert counts[0] == 60 == counts[1] + counts[2]
    assert 0 < counts[2] < 20


def test_the_codes_are_drawn(vtok, model, pictures, plot):
    result = vtok("codebook", model, pictures, "--plot", plot)
    assert result.code == 0
    assert result.out.decode().splitlines()[-1] == f"The picture of the codes: {plot}"
    sheet = np.asarray(Image.open(plot))
    assert sheet.ndim == 3
    tokenizer = LinearTokenizer.tiny()
    alone = tokenizer.decode(Tokens.full(torch.arange(16)[:, None, None], tokenizer.spec))  # (16, 3, 16, 16)
    middles = to_eight_bit(alone[:, :, 8, 8]).numpy()
    assert all((sheet == colour).all(2).any() for colour in middles)


def test_the_codes_of_each_codebook_are_drawn_so_many_as_are_wanted(vtok, factorized, pictures, plot):
    inked = []  # pixels that are not paper
    for codes in (1, 64):
        assert vtok("codebook", factorized, pictures, "--plot", plot, "--codes", codes, "--json").records[0]["plot"] == str(plot)
        sheet = np.asarray(Image.open(plot))
        inked.append((sheet != sheet[0, 0]).any(2).sum())
    assert inked[1] - inked[0] > (15 + 7) * 60**2
    assert not [name for name in files_under(plot.parent) if name.endswith(".part")]


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_broken_pictures_are_listed_with_exit_code_3(vtok, model, pictures, options):
    (pictures / "3.png").write_bytes(b"junk")
    result = vtok("codebook", model, pictures, *options)
    assert result.code == 3
    assert result.err.startswith("vtok: 1 of 7 pictures failed:\n")
    assert "3.png: not a picture" in result.err
    assert result.err.count("\n") == 2
    assert b"6" in result.out


def test_the_last_batch_counts_where_the_last_picture_is_broken(vtok, model, pictures):
    (pictures / "6.png").write_bytes(b"junk")
    result = vtok("codebook", model, pictures, "--batch", 4, "--json")
    assert (result.records[0]["strings"], result.records[0]["failed"]) == (6, 1)


def test_a_wait_of_more_than_two_seconds_has_a_bar(vtok, model, pictures, monkeypatch):
    seconds = iter(range(100))
    monkeypatch.setattr(report, "monotonic", lambda: next(seconds))
    terminal = as_terminal(monkeypatch)
    assert vtok("codebook", model, pictures).code == 0
    assert "%" in terminal.getvalue()


class TestRefusals:
    @pytest.fixture
    def refused(self, vtok, tmp_path):
        """The one line of a command that must leave all files as they are."""

        def run(*arguments):
            before = {name: (tmp_path / name).read_bytes() for name in files_under(tmp_path)}
            result = vtok("codebook", *arguments)
            assert (result.code, result.out) == (2, b"")
            assert {name: (tmp_path / name).read_bytes() for name in files_under(tmp_path)} == before
            return result.line

        return run

    def test_continuous_weights(self, refused, pictures, plot, tmp_path):
        TitokVae.tiny().save_pretrained(tmp_path / "vae")
        assert "is continuous (family titok_vae): it has no tokens" in refused(tmp_path / "vae", pictures, "--plot", plot)

    def test_no_such_model(self, refused, pictures, tmp_path):
        assert "no such file or folder" in refused(tmp_path / "none", pictures)

    def test_no_such_data(self, refused, model, tmp_path):
        assert "no such file or folder" in refused(model, tmp_path / "none")

    def test_pictures_of_which_none_can_be_read(self, refused, model, pictures, plot):
        for path in pictures.iterdir():
            path.write_bytes(b"junk")
        assert "no picture could be read; " in refused(model, pictures, "--plot", plot)

    def test_a_name_that_is_no_pictures(self, refused, model, pictures, plot):
        assert ".png" in refused(model, pictures, "--plot", plot.with_suffix(".gif"))

    def test_a_folder_that_is_not_there(self, refused, model, pictures, plot):
        assert "does not exist; create it first" in refused(model, pictures, "--plot", plot.parent / "none" / plot.name)

    @pytest.mark.parametrize("data", ["pictures", "pictures/2.png", "pictures/[1-3].png", "pictures/../pictures"])
    def test_a_plot_in_the_place_of_a_picture(self, refused, model, pictures, plot, data):
        assert "would replace a file of the data set" in refused(model, plot.parent / data, "--plot", pictures / "2.png")

    def test_a_plot_without_matplotlib(self, refused, model, pictures, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib", None)
        assert 'pip install "vtok[eval]"' in refused(model, pictures, "--plot", tmp_path / "codes.png")

    @pytest.mark.parametrize("option", ["--count", "--batch", "--codes"])
    def test_none_of_something(self, vtok, model, pictures, option):
        assert vtok("codebook", model, pictures, option, 0).code == 2


def test_an_older_plot_is_replaced(vtok, model, pictures, plot):
    plot.write_bytes(b"old")
    assert vtok("codebook", model, pictures, "--plot", plot).code == 0
    assert Image.open(plot).format == "PNG"


def test_the_commands_of_the_page_on_codebooks_work(vtok, pictures, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="needs the extra `eval`")
    held_out = next(name for i in range(999) if is_held_out(name := f"{i}.png"))
    (pictures / "0.png").rename(pictures / held_out)
    pictures.rename(tmp_path / "Pictures")
    LinearTokenizer.tiny().save_pretrained(tmp_path / "my-model")
    monkeypatch.chdir(tmp_path)
    page = (CHECKOUT / "docs" / "codebook.md").read_text(encoding="utf-8")
    commands = page.split("```\n")[1].splitlines()
    assert len(commands) == 4
    for command in commands:
        result = vtok(*command.partition("#")[0].split()[1:])
        assert (result.code, result.err) == (0, ""), command
    assert Image.open("codes.png").format == "PNG"
