"""The vision transformer of SigLIP (arXiv 2303.15343), by the library transformers."""

from torch import Tensor

from vtok.errors import MissingExtraError
from vtok.models.recompute import run
from vtok.models.towers.base import Shown, Tower
from vtok.models.transformer import TransformerConfig


class SiglipTower(Tower):
    """What a block gives for each patch, not normed: a SigLIP of one block more has it before its last.

    Args:
        config: sizes; `depth` counts the blocks that are computed.
        hidden: width of the MLPs.
        patch_size: side of a patch in pixels; what is beyond the last whole patch of a picture is not seen.
        image_size: side of all pictures in pixels.

    Raises:
        MissingExtraError: transformers is not installed.
    """

    def __init__(self, config: TransformerConfig, hidden: int, patch_size: int, image_size: int):
        super().__init__()
        try:
            from transformers import SiglipVisionConfig, SiglipVisionModel
        except ImportError as error:
            needs = f"a SigLIP needs a library that is not installed ({error})"
            raise MissingExtraError(f'{needs}: pip install "vtok[models]"') from None
        self.dim, self.patch_size = config.dim, patch_size
        self.shown = Shown()
        whole = SiglipVisionModel(
            SiglipVisionConfig(
                hidden_size=config.dim,
                intermediate_size=hidden,
                num_hidden_layers=config.depth,
                num_attention_heads=config.heads,
                image_size=image_size,
                patch_size=patch_size,
                vision_use_head=False,
            )
        )
        inner = getattr(whole, "vision_model", whole)  # before transformers 5 there was a model inside
        self.patch_embed = inner.embeddings.patch_embedding
        self.positions = inner.embeddings.position_embedding.weight  # (N, W)
        self.blocks = inner.encoder.layers
        self.checkpointing = False

    def forward(self, images: Tensor) -> Tensor:
        x: Tensor = self.patch_embed(self.shown(images)).flatten(2).mT + self.positions
        for block in self.blocks:
            x = run(block, x, None, again=self.checkpointing)
        return x

    def set_gradient_checkpointing(self, on: bool) -> None:
        self.checkpointing = on
