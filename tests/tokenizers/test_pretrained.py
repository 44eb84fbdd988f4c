"""Model folders: what is written, and what is refused when read."""

import contextlib
import json
from pathlib import Path
from typing import Any, ClassVar, Self

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict
from safetensors.torch import load_file, save_file
from torch import nn

from vtok.errors import ConfigError, OutputError, UnknownModelError, VtokError, WeightsError
from vtok.tokenizers.pretrained import Pretrained


class Inner(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    depth: int = 1


class SmallConfig(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    width: int = 3
    names: tuple[str, ...] = ("a",)
    inner: Inner = Inner()


class Model(Pretrained):
    families: ClassVar[dict[str, str]] = {"small": f"{__name__}:Small", "other": f"{__name__}:Other"}


class Small(Model):
    family = "small"
    Config = SmallConfig

    def __init__(self, config: SmallConfig):
        super().__init__()
        if config.width > 100:
            raise ValueError("width must be at most 100")
        self.config = config
        self.linear = nn.Linear(config.width, 2)
        self.register_buffer("table", torch.arange(6, dtype=torch.int64))
        self.register_buffer("derived", torch.zeros(1), persistent=False)
        self.dropout = nn.Dropout()

    @classmethod
    def example(cls, **values: Any) -> Self:
        return cls(SmallConfig(**values))

    def after_load(self) -> None:
        self.derived = self.linear.weight.sum()


class Other(Small):
    family = "other"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Small.example().save_pretrained(tmp_path / "small")
    return tmp_path / "small"


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **changes}), encoding="utf-8")


def test_a_folder_holds_a_configuration_tensors_and_a_card(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert json.loads((folder / "config.json").read_text(encoding="utf-8")) == {
        "vtok": 1,
        "family": "small",
        "config": {"width": 3, "names": ["a"], "inner": {"depth": 1}},
    }


def test_a_model_comes_back_with_its_configuration_and_tensors(tmp_path: Path) -> None:
    model = Small.example(width=5, names=("b", "c"), inner=Inner(depth=2))
    model.save_pretrained(tmp_path / "small")
    loaded = Small.from_pretrained(tmp_path / "small")
    assert loaded.config == model.config
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in model.state_dict().items())


def test_the_base_class_finds_the_family(folder: Path) -> None:
    assert type(Model.from_pretrained(folder)) is Small


def test_a_family_refuses_a_folder_of_another(folder: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json: a model of the family 'small', which is no Other"):
        Other.from_pretrained(folder)


def test_a_loaded_model_is_in_eval_mode_without_gradients(folder: Path) -> None:
    model = Small.from_pretrained(folder)
    assert not any(module.training for module in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_tensors_keep_the_type_of_the_file(folder: Path) -> None:
    tensors = {name: t.clone() for name, t in load_file(folder / "model.safetensors").items()}
    save_file({name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}, folder / "model.safetensors")
    model = Small.from_pretrained(folder)
    assert model.linear.weight.dtype == torch.float16
    assert torch.equal(model.linear.weight, tensors["linear.weight"].half())


def test_derived_tensors_are_prepared_after_loading(folder: Path) -> None:
    model = Small.from_pretrained(folder)
    assert torch.equal(model.derived, model.linear.weight.sum())


def test_saving_again_keeps_a_card_written_by_hand(folder: Path) -> None:
    (folder / "README.md").write_text("by hand", encoding="utf-8")
    Small.example().save_pretrained(folder)
    assert (folder / "README.md").read_text(encoding="utf-8") == "by hand"


def test_a_card_that_is_given_is_written(folder: Path) -> None:
    Small.example().save_pretrained(folder, card="newer")
    assert (folder / "README.md").read_text(encoding="utf-8") == "newer"


def test_the_card_names_the_model_the_family_and_the_licence(tmp_path: Path) -> None:
    Small.example().save_pretrained(tmp_path / "tiny", licence="mit")
    card = (tmp_path / "tiny" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: vtok\nlicense: mit\n")
    assert "# tiny\n" in card
    assert "| family | small |" in card
    assert 'vtok.load("./tiny")' in card


def test_saving_leaves_other_files_and_no_parts(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    Small.example().save_pretrained(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors", "notes.txt"]


def test_a_missing_parent_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        Small.example().save_pretrained(tmp_path / "no" / "such" / "place")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nowhere: not a model folder"):
        Small.from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(WeightsError, match=f"{name}: not found"):
        Small.from_pretrained(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vtok": 2}, "has format version 2, this vtok reads 1; install a newer vtok"),
        ({"vtok": "1"}, "must be the format version 1, got '1'"),
        ({"vtok": True}, "must be the format version 1, got True"),
        ({"family": 3}, 'expected "family" with a name'),
        ({"config": []}, '"config" with an object'),
    ],
)
def test_a_configuration_of_another_kind_is_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit(folder, **changes)
    with pytest.raises(WeightsError, match=message):
        Small.from_pretrained(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [(b"{", "no valid JSON"), (b"\xff", "no valid JSON"), (b"[" * 100_000, "no valid JSON"), (b"[]", "expected a JSON object, got list"),
     (b"{}", 'no key "vtok"'), (b" " * 1_000_001, "larger than 1 MB")],
)  # fmt: skip
def test_a_file_that_is_no_configuration_is_refused(folder: Path, text: bytes, message: str) -> None:
    (folder / "config.json").write_bytes(text)
    with pytest.raises(WeightsError, match=message):
        Small.from_pretrained(folder)


@pytest.mark.parametrize("name", ["linear", "os:system", "vtok.tokenizers.linear:LinearTokenizer"])
def test_a_class_never_comes_from_the_text_of_a_file(folder: Path, name: str) -> None:
    edit(folder, family=name)
    with pytest.raises(UnknownModelError, match="no family named"):
        Model.from_pretrained(folder)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"widht": 3}, "unknown key widht; did you mean width"),
        ({"inner": {"depht": 3}}, r"unknown key inner\.depht; did you mean depth"),
        ({"zzz": 3}, "unknown key zzz; known are inner, names, width"),
        ({"width": "3"}, "width: Input should be a valid integer"),
        ({"names": [1]}, r"names\.0: Input should be a valid string"),
        ({"width": 101}, "width must be at most 100"),
    ],
)
def test_a_wrong_value_or_key_is_named_with_its_file(folder: Path, config: dict[str, Any], message: str) -> None:
    edit(folder, config=config)
    with pytest.raises(ConfigError, match=rf"config\.json: .*{message}"):
        Small.from_pretrained(folder)


def test_missing_unknown_and_misshapen_tensors_are_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({"extra": torch.zeros(1), "linear.weight": torch.zeros(7), "table": tensors["table"].float()}, path)
    with pytest.raises(WeightsError) as error:
        Small.from_pretrained(folder)
    text = str(error.value)
    assert "model.safetensors: does not fit config.json" in text
    assert "lacks linear.bias; has unknown extra; has wrong shapes or types for linear.weight, table" in text


@given(cut=st.integers(0, 399))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
def test_a_cut_tensor_file_is_one_line(folder: Path, cut: int) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: cut * len(whole) // 400])
    with pytest.raises(WeightsError, match=r"model\.safetensors: damaged or no safetensors file") as error:
        Small.from_pretrained(folder)
    assert "\n" not in str(error.value)
    path.write_bytes(whole)


@given(place=st.integers(0, 10_000), value=st.integers(0, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
def test_a_changed_byte_of_the_header_never_crashes(folder: Path, place: int, value: int) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    at = place % header
    path.write_bytes(whole[:at] + bytes([value]) + whole[at + 1 :])
    try:
        with contextlib.suppress(VtokError):
            Small.from_pretrained(folder)
    finally:
        path.write_bytes(whole)


def test_a_pickle_is_not_opened(folder: Path) -> None:
    torch.save(Small.example().state_dict(), folder / "model.safetensors")
    with pytest.raises(WeightsError, match="damaged or no safetensors file"):
        Small.from_pretrained(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_tensors_that_are_no_numbers_are_named(folder: Path, value: float) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["linear.bias"][0] = value
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"model\.safetensors: .*not finite.*linear\.bias"):
        Model.from_pretrained(folder)


def test_wider_numbers_than_the_model_has_are_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "linear.bias": tensors["linear.bias"].double()}, folder / "model.safetensors")
    with pytest.raises(WeightsError, match=r"wrong shapes or types for linear\.bias"):
        Model.from_pretrained(folder)
