"""The `config.json` that the TiTok line's repositories store beside their weights: what it says, and whether the tensors agree."""

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from vtok.errors import WeightsError
from vtok.models.latent_token_encoder import VitConfig
from vtok.tokenizers.folder import MAX_CONFIG_BYTES
from vtok.weights.convert.official import BASE, LARGE, SMALL
from vtok.weights.convert.titok import Hints
from vtok.weights.convert.upstream import Recognised

SIZES = {"small": SMALL, "base": BASE, "large": LARGE}
SizeName = Literal["small", "base", "large"]
_STRICT = ConfigDict(strict=True, frozen=True)


class VqModel(BaseModel):
    """What is said of the networks; None where nothing is, and where it can be left out what upstream takes then."""

    model_config = _STRICT
    codebook_size: int | None = None
    token_size: int | None = None
    use_l2_norm: bool | None = None
    vit_enc_model_size: SizeName | None = None
    vit_dec_model_size: SizeName | None = None
    vit_enc_patch_size: int | None = None
    vit_dec_patch_size: int | None = None
    num_latent_tokens: int | None = None
    finetune_decoder: bool = True
    is_legacy: bool = True
    quantize_mode: Literal["vq", "vae"] = "vq"
    strict_length_assertion: bool = True
    text_context_length: int = 77
    text_embed_dim: int = 768


class _Model(BaseModel):
    model_config = _STRICT
    vq_model: VqModel


class _Preprocessing(BaseModel):
    model_config = _STRICT
    crop_size: int | None = None


class _Dataset(BaseModel):
    model_config = _STRICT
    preprocessing: _Preprocessing = _Preprocessing()


class Tree(BaseModel):
    """The parts of the file that tell of the tokenizer; there are more."""

    model_config = _STRICT
    model: _Model
    dataset: _Dataset = _Dataset()

    @property
    def hints(self) -> Hints:
        """What the tensors do not say."""
        own = self.model.vq_model
        return Hints(l2=own.use_l2_norm, nested=not own.strict_length_assertion)

    def check(self, found: Recognised) -> None:
        """Look that the tensors are what the file says.

        Raises:
            WeightsError: they are not; the message has the key and both values.
        """
        if found.family == "maskgit_vqgan":
            raise WeightsError("describes a TiTok, the tensors beside it are a MaskGIT-VQGAN's")
        said = self.model.vq_model.model_dump() | {"crop_size": self.dataset.preprocessing.crop_size}
        for key, value in _facts(found).items():
            if said[key] is not None and said[key] != value:
                place = "dataset.preprocessing" if key == "crop_size" else "model.vq_model"
                left_out = "" if key in self.model.vq_model.model_fields_set or key == "crop_size" else " (so it is when left out)"
                raise WeightsError(f"{place}.{key} is {_shown(said[key])}{left_out}, by the tensors it is {_shown(value)}")


class _Outline(BaseModel):
    """What tells whose a `config.json` is."""

    vtok: Any = None
    model: Any = None
    encoder: Any = None
    config: Any = None

    @property
    def is_flextok(self) -> bool:
        return self.encoder is not None or (isinstance(self.config, dict) and "encoder" in self.config)


def whose(config: Path) -> Literal["vtok", "upstream", "nobody"]:
    """Whose model a `config.json` belongs to; nobody's where the file is missing, too large, or says nothing."""
    try:
        outline = _Outline.model_validate_json(read_bytes(config))
    except (WeightsError, ValidationError):
        return "nobody"
    if outline.vtok is not None:
        return "vtok"
    return "upstream" if outline.model is not None or outline.is_flextok else "nobody"


def read_tree(config: Path) -> Tree:
    """Upstream's `config.json`.

    Raises:
        WeightsError: it cannot be read, has more than 1 MB, or holds something else; the message names file and key.
    """
    try:
        return Tree.model_validate_json(read_bytes(config))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        key = ".".join(map(str, fault["loc"]))
        raise WeightsError(f"{config}: {f'{key}: ' if key else ''}{fault['msg']}") from None


def read_bytes(config: Path) -> bytes:
    """Of a configuration.

    Raises:
        WeightsError: it cannot be read, or has more than 1 MB.
    """
    try:
        with config.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTES + 1)
    except OSError as error:
        raise WeightsError(f"{config}: cannot be read ({error.strerror})") from None
    if len(data) > MAX_CONFIG_BYTES:
        raise WeightsError(f"{config}: larger than 1 MB, that is no model configuration")
    return data


def _facts(found: Recognised) -> dict[str, Any]:
    """The tree's values as the tensors have them."""
    config: Any = found.config
    continuous = found.family.endswith("_vae")
    latents = config if continuous else config.quantizer
    facts = {
        "quantize_mode": "vae" if continuous else "vq",
        "is_legacy": hasattr(config, "pixels"),
        "finetune_decoder": hasattr(config, "pixels") and not found.family.endswith("_proxy"),
        "strict_length_assertion": not found.family.startswith("one_d_piece"),
        "num_latent_tokens": latents.num_tokens,
        "token_size": latents.dim,
        "vit_enc_model_size": _size(config.encoder),
        "vit_dec_model_size": _size(config.decoder),
        "vit_enc_patch_size": config.encoder.patch_size,
        "vit_dec_patch_size": config.decoder.patch_size,
        "crop_size": config.image_size,
    }
    codes = {} if continuous else {"codebook_size": latents.codebook_size}
    text = {"text_context_length": config.text.length, "text_embed_dim": config.text.dim} if hasattr(config, "text") else {}
    return facts | codes | text


def _size(config: VitConfig) -> str:
    same = (name for name, size in SIZES.items() if (size.dim, size.depth) == (config.dim, config.depth))
    return next(same, f"none of {', '.join(SIZES)} ({config.dim} wide, {config.depth} deep)")


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
