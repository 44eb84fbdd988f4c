"""LlamaGen's VQ as its repository has it: tensors and sizes."""

from collections.abc import Mapping

from torch import Tensor

from vtok.models.quantizers.part_config import VqPart
from vtok.tokenizers.llamagen_vq import LlamagenVqConfig
from vtok.weights.convert.conv import DECODER_RULES, ENCODER_RULES, encoder_sizes, head_rules, is_conv
from vtok.weights.convert.names import TABLES, Rule

CODES = "quantize.embedding.weight"
RULES = (
    *ENCODER_RULES,
    *head_rules("encoder.norm_out", "encoder.conv_out", "quant_conv", "head."),
    Rule(CODES, "quantizer.codes", TABLES),
    *DECODER_RULES,
)
NOT_NEEDED = ("quantize.codebook_used",)  # the ids that were last used, of the training alone
IMAGE_SIZE = 256  # pixels a side of the pictures that the official ones were trained on; tensors do not say it


def is_llamagen_vq(state: Mapping[str, Tensor]) -> bool:
    """Whether a state is one."""
    return is_conv(state) and CODES in state


def sizes(state: Mapping[str, Tensor]) -> LlamagenVqConfig:
    """The sizes of a whole LlamaGen VQ, for tiles of 256 x 256 pixels.

    Raises:
        KeyError: a tensor is missing that tells of sizes.
        ValueError: sizes that are none.
    """
    own = encoder_sizes(state)
    codebook_size, dim = state[CODES].shape
    quantizer = VqPart(kind="spherical_vq", dim=dim, codebook_size=codebook_size)
    return LlamagenVqConfig(**own, image_size=IMAGE_SIZE, quantizer=quantizer)
