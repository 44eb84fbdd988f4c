"""A small FlexTok as its repository stores it: tensors, configuration, files."""

import copy
import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from tests.weights.convert.states import random_state
from vtok.models.quantizers.config import FsqConfig
from vtok.models.transformer import TransformerConfig
from vtok.tokenizers.flextok import FlextokConfig, FlextokTokenizer
from vtok.weights.convert.flextok import DECODER, ENCODER, autoencoder_of

CONFIG = FlextokConfig(
    image_size=16,
    quantizer=FsqConfig(num_tokens=6, levels=(8, 8, 8, 5, 5, 5)),
    encoder=TransformerConfig(dim=64, depth=2, heads=1),
    decoder=TransformerConfig(dim=128, depth=1, heads=2),
    max_time=1000.0,
    autoencoder=autoencoder_of([32, 32], 1, channels=4, scaling_factor=0.18215),
)
HEADER_ALONE = {"format": "pt"}  # metadata that say nothing of the model


def small(config: FlextokConfig = CONFIG) -> dict[str, Tensor]:
    """Its tensors, all of them random."""
    return random_state(FlextokTokenizer(config))


def without(state: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if part not in name}


def _node(kind: str, **values: Any) -> dict[str, Any]:
    return {"_target_": f"flextok.{kind}", **values}


def _patches(dim: int) -> dict[str, Any]:
    return _node("model.preprocessors.patching.PatchEmbedder", channels_in=4, dim=dim, patch_sizes=[2, 2], flatten_patches=False)


def _positions(dim: int, sizes: list[int], kind: str) -> dict[str, Any]:
    values = {"dim": dim, "max_sizes": sizes, "posemb_type": kind, "posemb_scaling": "absolute"}
    return _node("model.utils.posembs.PositionalEmbeddingAdder", read_key="some", write_key="where", **values)


def _moved(how: str) -> dict[str, Any]:
    return _node("model.utils.dict_ops.PerSampleOp", per_sample_op=_node(f"model.utils.dict_ops.{how}", _partial_=True))


def _packer(mask_mode: str) -> dict[str, Any]:
    values = {"input_list_read_keys": ["patches", "registers"], "mask_mode": mask_mode, "pad_to_multiple": 128}
    return _node("model.preprocessors.flex_seq_packing.BlockWiseSequencePacker", **values)


def _trunk(dim: int, depth: int, **values: Any) -> dict[str, Any]:
    return _node("model.trunks.transformers.FlexTransformer", dim=dim, depth=depth, use_act_checkpoint=True, **values)


def _unpacker() -> dict[str, Any]:
    return _node("model.postprocessors.seq_unpacking.SequenceUnpacker", packed_seq_read_key="packed")


def _head(kind: str, **values: Any) -> dict[str, Any]:
    return _node(f"model.postprocessors.heads.{kind}", use_mup_readout=False, weight_init_style="zero", dtype_override=None, **values)


def tree_of(**changes: Any) -> dict[str, Any]:
    """The configuration stored with it; changes name a value by its path with `__` for the dots, `...` leaves it out."""
    encoder = {
        "enc_channels_to_last": _moved("channels_first_to_last"),
        "enc_patch_emb": _patches(64),
        "enc_posemb_module": _positions(64, [4, 4], "sincos"),
        "enc_register_module": _node("model.preprocessors.registers.Registers1D", dim=64, n_min=6, n_max=6, ordering_mode="nested"),
        "enc_seq_packer": _packer("causal_last"),
        "enc_transformer": _trunk(64, 2),
        "enc_unpacker": _unpacker(),
        "enc_to_latents": _head("LinearHead", dim=64, dim_out=6),
    }
    decoder = {
        "dec_from_latents": _node("model.preprocessors.linear.LinearLayer", dim_in=6, dim=128),
        "dec_registers_posemb_module": _positions(128, [6], "learnable_sum"),
        "dec_nested_dropout": _node("model.preprocessors.token_dropout.MaskedNestedDropout", dim=128, size_sampling_mode="pow2"),
        "dec_latent_dropout": _node("model.preprocessors.nullcond.LearnedNullCond", dim=128, dropout_prob=0.2),
        "dec_noise_channels_to_last": _moved("channels_first_to_last"),
        "dec_noise_patch_emb": _patches(128),
        "dec_patches_posemb_module": _positions(128, [4, 4], "sincos"),
        "dec_seq_packer": _packer("full") | {"per_subseq_embs": True},
        "dec_time_embedder": _node("model.preprocessors.time_embedding.TimestepEmbedder", dim=128, max_timestep=1000.0),
        "dec_transformer": _trunk(128, 1, adaLN_expansion=2, intermediate_layers=[1]),
        "dec_unpacker": _unpacker(),
        "dec_repa_unpacker": _unpacker(),
        "dec_to_patches": _head("ToPatchesLinearHead", dim=128, channels_out=4, patch_sizes=[2, 2]),
        "dec_channels_to_first": _moved("channels_last_to_first"),
    }
    wrapper = "model.utils.wrappers.SequentialModuleDictWrapper"
    tree = _node(
        "flextok_wrapper.FlexTok",
        vae=_node("vae_wrapper.StableDiffusionVAE", latent_channels=4, dtype_override="fp32", frozen=True),
        encoder=_node(wrapper, module_dict=encoder),
        decoder=_node(wrapper, module_dict=decoder),
        regularizer=_node("regularizers.quantize_fsq.FSQ", levels=[8, 8, 8, 5, 5, 5], drop_quant_p=0.0, packed_call=True),
        flow_matching_noise_module=_node("flow_matching.noise_modules.MinRFNoiseModule", ln=False, mode_scale=0.25),
        pipeline=_node("flow_matching.pipelines.MinRFPipeline", _partial_=True, noise_read_key=None, out_channels=4),
    )
    for path, value in changes.items():
        *parts, last = path.split("__")
        place = tree = copy.deepcopy(tree)
        for part in parts:
            place = place[part]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return tree


def encoder_module(name: str) -> str:
    """The path of a module's value for `tree_of`."""
    return f"{ENCODER}enc_{name}".replace(".", "__")


def decoder_module(name: str) -> str:
    return f"{DECODER}dec_{name}".replace(".", "__")


def header_of(tree: dict[str, Any]) -> dict[str, str]:
    """The tree as the header of the tensors' file has it."""
    return {key: value if isinstance(value, str) else repr(value) for key, value in tree.items()}


def folder(place: Path, state: dict[str, Tensor], *, header: dict[str, str] | None = None, config: Any = None) -> Path:
    """A folder as the hub has it, `config` also as bytes; None for no such file."""
    place.mkdir()
    save_file(state, place / "model.safetensors", header)
    if config is not None:
        (place / "config.json").write_bytes(config if isinstance(config, bytes) else json.dumps(config).encode())
    return place
