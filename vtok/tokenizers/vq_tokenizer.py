"""What tokenizers share that see each tile alone and take their ids from one quantizer."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vtok.models.quantizers import Quantized, Quantizer
from vtok.tokenizers.base import Tokenizer
from vtok.tokenizers.checks import eighth_of_a_tile


class VqTokenizer(Tokenizer):
    """A tokenizer whose ids are those of `quantizer`. A family sets that, and fills in `latents`, `reconstruct` and `tiny`."""

    quantizer: Quantizer

    @property
    def default_overlap(self) -> int:
        """An eighth of a tile: these families do not see across tiles."""
        return eighth_of_a_tile(self.spec)

    def code_state(self) -> Mapping[str, Tensor]:
        return {f"quantizer.{name}": value for name, value in self.quantizer.state_dict(keep_vars=True).items()}

    def after_load(self) -> None:
        """All runs in float32."""
        self.float().to(memory_format=torch.channels_last)  # convolutions on a processor are faster so

    def quantize(self, latents: Tensor) -> Quantized:
        quantized: Quantized = self.quantizer(latents)
        return quantized

    def lookup(self, ids: Tensor, lengths: Tensor) -> Tensor:
        return self.quantizer.lookup(ids, lengths)
