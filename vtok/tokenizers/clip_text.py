"""The text tower of CLIP ViT-L/14 at 336 pixels, for decoders that read a caption; by the open_clip library."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from vtok.data.files import expand_home
from vtok.errors import MissingExtraError, WeightsError
from vtok.tokenizers.hub import fetch_file

VARIABLE = "VTOK_CLIP_WEIGHTS"
REPO, FILE = "timm/vit_large_patch14_clip_336.openai", "open_clip_model.safetensors"
WIDTH, LENGTH, LAYERS, HEADS = 768, 77, 12, 12


class ClipText(nn.Module):
    """Captions to embeddings of all 77 positions after the last norm: neither pooled nor projected, no mask; texts are filled up with id 0.

    Args:
        weights_file: CLIP's tensors in open_clip's names, .safetensors; None: the file of the variable `VTOK_CLIP_WEIGHTS`, else the hub's,
            from its cache or downloaded there.

    Raises:
        MissingExtraError: open_clip is not installed.
        WeightsError: no weights at hand, or a file that holds others.
    """

    def __init__(self, weights_file: Path | None = None):
        super().__init__()
        try:
            from open_clip.tokenizer import SimpleTokenizer
            from open_clip.transformer import QuickGELU, TextTransformer
        except ImportError as error:
            raise MissingExtraError(f'captions need a library that is not installed ({error}): pip install "vtok[text]"') from None
        file = _weights(weights_file)
        self.tower = TextTransformer(
            context_length=LENGTH,
            width=WIDTH,
            heads=HEADS,
            layers=LAYERS,
            proj_type="none",
            act_layer=QuickGELU,
            output_tokens=True,
        )
        self._fill(file)
        self._words = SimpleTokenizer(context_length=LENGTH)
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def forward(self, captions: Sequence[str]) -> Tensor:
        """Captions, longer ones cut to 75 tokens, to embeddings (B, 77, 768) float32."""
        ids = self._words(list(captions)).to(self.tower.positional_embedding.device)
        with torch.autocast(ids.device.type, enabled=False):
            embeddings: Tensor = self.tower(ids)[1]
        return embeddings

    def _fill(self, file: Path) -> None:
        wanted = self.tower.state_dict()
        try:
            with safe_open(file, "pt") as tensors:
                if missing := sorted(set(wanted) - set(tensors.keys())):
                    raise WeightsError(f"{file} lacks {len(missing)} tensors of CLIP's text tower, {missing[0]} among them")
                self.tower.load_state_dict({name: tensors.get_tensor(name).float() for name in wanted})
        except (OSError, SafetensorError, RuntimeError) as error:
            raise WeightsError(f"{file}: cannot read CLIP's text tower: {' '.join(str(error).split())[:200]}") from None


def _weights(given: Path | None) -> Path:
    if given is None and os.environ.get(VARIABLE):
        given = expand_home(os.environ[VARIABLE])
    if given is None:
        return fetch_file(REPO, FILE, instead=f"name a file of CLIP's text tower in the variable {VARIABLE}")
    if not given.is_file():
        raise WeightsError(f"no file {given}: captions need CLIP ViT-L/14-336's weights there (open_clip's, .safetensors)")
    return given
