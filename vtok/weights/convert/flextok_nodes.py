"""The nodes of a FlexTok's configuration. Each names what it was made of; the names are compared with those known here, never used.

What a node leaves out is as in the official models. What it asks for and this family does not do is refused.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator
from pydantic_core import PydanticCustomError

from vtok.weights.convert.flextok import HEAD_WIDTH, FlextokHints, Positions

_MODEL = "flextok.model"


class _Node(BaseModel):
    """One thing.

    Keys beyond the fields and `idle` say under which names values are kept, or are off (null, false, 0, empty), or are refused.

    Attributes:
        target: what it must be.
        idle: keys that change nothing that is computed here.
        harmless: kinds of values that other keys may have.
    """

    model_config = ConfigDict(strict=True, frozen=True)
    target: ClassVar[str]
    idle: ClassVar[frozenset[str]] = frozenset()
    harmless: ClassVar[tuple[type, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _is_known(cls, node: Any) -> Any:
        target = node.get("_target_") if isinstance(node, dict) else node
        if target != cls.target or not isinstance(node, dict):
            raise _fault("_target_", target, f"expected {cls.target}")
        known = {*cls.model_fields, *cls.idle, "_target_", "_partial_", "dim"}  # widths are those of the tensors
        for key, value in node.items():
            if value and key not in known and not key.endswith(("_key", "_keys")) and not isinstance(value, cls.harmless):
                raise _fault(key, value, "which vtok does not know")
        return node


class VaeNode(_Node):
    target = "flextok.vae_wrapper.StableDiffusionVAE"
    idle = frozenset({"dtype_override", "frozen", "sample_posterior"})  # of posteriors, vtok takes the mode unless it is asked otherwise
    harmless = (str,)  # such as where its weights were from before they were put into this file
    latent_channels: int | None = None
    scaling_factor: FiniteFloat | None = None


class _ToLast(_Node):
    target = f"{_MODEL}.utils.dict_ops.channels_first_to_last"


class _ToFirst(_Node):
    target = f"{_MODEL}.utils.dict_ops.channels_last_to_first"


class _ToLastOp(_Node):
    target = f"{_MODEL}.utils.dict_ops.PerSampleOp"
    per_sample_op: _ToLast


class _ToFirstOp(_Node):
    target = f"{_MODEL}.utils.dict_ops.PerSampleOp"
    per_sample_op: _ToFirst


class _Patches(_Node):
    target = f"{_MODEL}.preprocessors.patching.PatchEmbedder"
    channels_in: int | None = None
    patch_sizes: list[int] | None = None
    flatten_patches: Literal[False] = False


class _Positions(_Node):
    target = f"{_MODEL}.utils.posembs.PositionalEmbeddingAdder"
    max_sizes: list[int] | None = None
    posemb_type: Positions = "sincos"
    posemb_scaling: Literal["absolute"] = "absolute"


class _RegisterPositions(_Positions):
    posemb_type: Literal["learnable_sum", "learnable_prod"] = "learnable_sum"  # of one axis, so there is nothing to add or multiply


class _Registers(_Node):
    target = f"{_MODEL}.preprocessors.registers.Registers1D"
    idle = frozenset({"n_min", "size_sampling_mode"})
    n_max: int | None = None
    n_eval: int | None = None
    ordering_mode: Literal["nested"] = "nested"


class _Packer(_Node):
    target = f"{_MODEL}.preprocessors.flex_seq_packing.BlockWiseSequencePacker"
    idle = frozenset({"pad_to_multiple", "per_subseq_embs"})


class _EncoderPacker(_Packer):
    mask_mode: Literal["causal_last"] = "causal_last"


class _DecoderPacker(_Packer):
    mask_mode: Literal["full"] = "full"


class _Trunk(_Node):
    target = f"{_MODEL}.trunks.transformers.FlexTransformer"
    idle = frozenset({"use_act_checkpoint", "intermediate_layers"})
    dim: int | None = None
    depth: int | None = None
    head_dim: int | None = Field(None, ge=1)
    num_heads: int | None = Field(None, ge=1)

    @property
    def head_width(self) -> int:
        """Of each head."""
        if self.head_dim is None and self.num_heads is not None and self.dim is not None:
            return max(1, self.dim // self.num_heads)
        return self.head_dim or HEAD_WIDTH


class _DecoderTrunk(_Trunk):
    adaLN_expansion: Literal[2] = 2  # noqa: N815 - upstream's key


class _Unpacker(_Node):
    target = f"{_MODEL}.postprocessors.seq_unpacking.SequenceUnpacker"


class _Head(_Node):
    target = f"{_MODEL}.postprocessors.heads.LinearHead"
    idle = frozenset({"weight_init_style", "dtype_override"})
    dim_out: int | None = None
    use_mup_readout: Literal[False] = False


class _PatchHead(_Node):
    target = f"{_MODEL}.postprocessors.heads.ToPatchesLinearHead"
    idle = frozenset({"weight_init_style", "dtype_override"})
    channels_out: int | None = None
    patch_sizes: list[int] | None = None
    use_mup_readout: Literal[False] = False


class _Linear(_Node):
    target = f"{_MODEL}.preprocessors.linear.LinearLayer"
    dim_in: int | None = None


class _NestedDropout(_Node):
    target = f"{_MODEL}.preprocessors.token_dropout.MaskedNestedDropout"
    idle = frozenset({"size_sampling_mode"})


class _NullCondition(_Node):
    target = f"{_MODEL}.preprocessors.nullcond.LearnedNullCond"
    idle = frozenset({"dropout_prob"})


class _Times(_Node):
    target = f"{_MODEL}.preprocessors.time_embedding.TimestepEmbedder"
    frequency_embedding_size: Literal[256] = 256
    max_timestep: float = Field(FlextokHints.max_time, gt=0, le=1e6)


class _Bystander(BaseModel):
    """A module that only training needs: a head for features of a layer, and what brings these there."""

    @model_validator(mode="before")
    @classmethod
    def _is_known(cls, node: Any) -> Any:
        target = node.get("_target_") if isinstance(node, dict) else node
        if target not in (_Unpacker.target, f"{_MODEL}.postprocessors.heads.MLPHead"):
            raise _fault("_target_", target, "which vtok does not know there")
        return node


class _Modules(BaseModel):
    """Modules by name. Their order is not looked at: libraries that write such files sort the names."""

    model_config = ConfigDict(strict=True, frozen=True, extra="allow")
    __pydantic_extra__: dict[str, _Bystander] = Field(init=False)


class _EncoderModules(_Modules):
    enc_channels_to_last: _ToLastOp
    enc_patch_emb: _Patches
    enc_posemb_module: _Positions
    enc_register_module: _Registers
    enc_seq_packer: _EncoderPacker
    enc_transformer: _Trunk
    enc_unpacker: _Unpacker
    enc_to_latents: _Head


class _DecoderModules(_Modules):
    dec_from_latents: _Linear
    dec_registers_posemb_module: _RegisterPositions
    dec_nested_dropout: _NestedDropout
    dec_latent_dropout: _NullCondition
    dec_noise_channels_to_last: _ToLastOp
    dec_noise_patch_emb: _Patches
    dec_patches_posemb_module: _Positions
    dec_seq_packer: _DecoderPacker
    dec_time_embedder: _Times
    dec_transformer: _DecoderTrunk
    dec_unpacker: _Unpacker
    dec_to_patches: _PatchHead
    dec_channels_to_first: _ToFirstOp


class EncoderNode(_Node):
    target = f"{_MODEL}.utils.wrappers.SequentialModuleDictWrapper"
    module_dict: _EncoderModules


class DecoderNode(_Node):
    target = f"{_MODEL}.utils.wrappers.SequentialModuleDictWrapper"
    module_dict: _DecoderModules


class QuantizerNode(_Node):
    target = "flextok.regularizers.quantize_fsq.FSQ"
    idle = frozenset({"drop_quant_p", "corrupt_tokens_p", "min_corrupt_tokens_p", "apply_corrupt_tokens_p", "packed_call"})
    levels: list[Annotated[int, Field(ge=2, le=65536)]] = Field(list(FlextokHints.levels), max_length=64)


class NoiseNode(_Node):
    target = "flextok.flow_matching.noise_modules.MinRFNoiseModule"
    idle = frozenset({"ln", "stratisfied", "mode_scale"})


class PipelineNode(_Node):
    target = "flextok.flow_matching.pipelines.MinRFPipeline"
    out_channels: int | None = None


def _fault(key: str, value: Any, why: str) -> PydanticCustomError:
    return PydanticCustomError("unknown", "{told}", {"told": f"{key:.60} is {value!r:.100}, {why}"})
