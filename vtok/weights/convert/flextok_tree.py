"""The configuration that comes with a FlexTok: what it says, and whether the tensors agree."""

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vtok.data.files import shown_name
from vtok.errors import WeightsError
from vtok.weights.convert.flextok import FlextokHints
from vtok.weights.convert.flextok_nodes import DecoderNode, EncoderNode, NoiseNode, PipelineNode, QuantizerNode, VaeNode
from vtok.weights.convert.header import literals
from vtok.weights.convert.tree import read_bytes
from vtok.weights.convert.upstream import Recognised

TOP = ("_target_", "vae", "encoder", "decoder", "regularizer", "flow_matching_noise_module", "pipeline")


class FlextokTree(BaseModel):
    """The configuration of a FlexTok; keys beside these are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)
    target: Literal["flextok.flextok_wrapper.FlexTok"] = Field("flextok.flextok_wrapper.FlexTok", alias="_target_")
    encoder: EncoderNode
    decoder: DecoderNode
    regularizer: QuantizerNode
    vae: VaeNode | None = None
    flow_matching_noise_module: NoiseNode | None = None
    pipeline: PipelineNode | None = None

    @classmethod
    def of(cls, values: dict[str, Any], file: Path) -> Self:
        """The configuration that was read from a file.

        Raises:
            WeightsError: it says something that this family does not do; the message has file and key.
        """
        try:
            return cls.model_validate_json(json.dumps(values))
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            key = ".".join(f"{part!s:.60}" for part in fault["loc"])
            reason = f"{key}: {fault['msg']}" if key else fault["msg"]
        except (TypeError, ValueError, RecursionError) as error:  # a literal that no JSON has, such as a set
            reason = str(error)
        raise WeightsError(f"{file}: FlexTok's configuration: {shown_name(reason)[:400]}")

    @property
    def hints(self) -> FlextokHints:
        """What the tensors do not say."""
        encoder, decoder = self.encoder.module_dict, self.decoder.module_dict
        return FlextokHints(
            levels=tuple(self.regularizer.levels),
            max_time=decoder.dec_time_embedder.max_timestep,
            scaling_factor=(self.vae.scaling_factor if self.vae else None) or FlextokHints.scaling_factor,
            encoder_head_dim=encoder.enc_transformer.head_width,
            decoder_head_dim=decoder.dec_transformer.head_width,
            encoder_positions=encoder.enc_posemb_module.posemb_type,
            decoder_positions=decoder.dec_patches_posemb_module.posemb_type,
        )

    def check(self, found: Recognised) -> None:
        """Look that the tensors are what the configuration says.

        Raises:
            WeightsError: they are not; the message has the key and both values.
        """
        said = self.model_dump()
        for key, value in _facts(found.config).items():
            own: Any = said
            for part in key.split("."):
                own = None if own is None else own[part]
            if own is not None and own != value:
                raise WeightsError(f"{key} is {own!r:.60}, by the tensors it is {value}")


def read_config(config: Path) -> FlextokTree | None:
    """What a `config.json` says of a FlexTok: the tree, or an object with that under `config`; None where it is missing or of no model.

    Raises:
        WeightsError: it cannot be read, is no JSON or has more than 1 MB, or as of `FlextokTree.of`.
    """
    if not config.exists():
        return None
    try:
        values = json.loads(read_bytes(config))
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{config}: no valid JSON ({' '.join(str(error).split())[:200]})") from None
    for tree in (values, values.get("config") if isinstance(values, dict) else None):
        if isinstance(tree, dict) and "encoder" in tree:
            return FlextokTree.of(tree, config)
    return None


def read_header(file: Path) -> FlextokTree | None:
    """What the header of a safetensors file says of the FlexTok in it; None where it says nothing.

    Raises:
        WeightsError: as of `FlextokTree.of`, or it is too large.
    """
    values = literals(file, TOP) if file.suffix == ".safetensors" else {}
    return FlextokTree.of(values, file) if "encoder" in values else None


def _facts(config: Any) -> dict[str, Any]:
    """The tree's values as the tensors have them."""
    settings, num_tokens = config.autoencoder.settings, config.quantizer.num_tokens
    channels, patch = settings["latent_channels"], [config.patch_size] * 2
    grid = [config.image_size // (config.patch_size * 2 ** (len(settings["block_out_channels"]) - 1))] * 2
    encoder, decoder = "encoder.module_dict", "decoder.module_dict"
    facts = {
        "vae.latent_channels": channels,
        "pipeline.out_channels": channels,
        f"{encoder}.enc_register_module.n_max": num_tokens,
        f"{encoder}.enc_register_module.n_eval": num_tokens,
        f"{encoder}.enc_to_latents.dim_out": len(config.quantizer.levels),
        f"{decoder}.dec_from_latents.dim_in": len(config.quantizer.levels),
        f"{decoder}.dec_registers_posemb_module.max_sizes": [num_tokens],
        f"{decoder}.dec_to_patches.channels_out": channels,
        f"{decoder}.dec_to_patches.patch_sizes": patch,
    }
    for own, part, patches, positions in (
        (config.encoder, f"{encoder}.enc", "patch_emb", "posemb_module"),
        (config.decoder, f"{decoder}.dec", "noise_patch_emb", "patches_posemb_module"),
    ):
        facts |= {
            f"{part}_{patches}.channels_in": channels,
            f"{part}_{patches}.patch_sizes": patch,
            f"{part}_{positions}.max_sizes": grid,
            f"{part}_transformer.dim": own.dim,
            f"{part}_transformer.depth": own.depth,
            f"{part}_transformer.num_heads": own.heads,
        }
    return facts
