"""Models of the TiTok line with the weights of a fixture, and its values in our shapes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tests.parity import Stored
from vtok.models.maskgit_vqgan import MaskgitConfig
from vtok.tokenizers.maskgit_vqgan import MaskgitVqgan, MaskgitVqganConfig
from vtok.tokenizers.pretrained import Pretrained
from vtok.weights.convert import Hints, from_upstream, to_upstream


def model_of(stored: Stored) -> Any:
    """The fixture's model; one in its first stage gets a random MaskGIT-VQGAN of 1,024 codes beside it."""
    sizes = stored.config["sizes"]
    hints = Hints(l2=sizes.get("use_l2_norm"), nested=stored.config["system"] == "one_d_piece", heads=sizes.get("heads"))
    first_stage = sizes.get("is_legacy") and not sizes["finetune_decoder"]
    return from_upstream(
        stored.weights, hints=hints, proxy=random_proxy(stored.weights["decoder.ffn.2.bias"].shape[0]) if first_stage else None
    )


def random_proxy(codebook_size: int) -> dict[str, Tensor]:
    """Upstream's tensors of a small MaskGIT-VQGAN."""
    config = MaskgitConfig(dim=32, multiples=(1, 1), num_blocks=1, latent_dim=4, codebook_size=codebook_size)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return to_upstream(MaskgitVqgan(MaskgitVqganConfig(image_size=16, **config.model_dump())))


def watched(module: nn.Module) -> Callable[[], Tensor]:
    """What a part of a model last gave."""
    seen: list[Tensor] = []
    module.register_forward_hook(lambda _, __, out: seen.append(out))
    return lambda: seen[-1]


def as_row(latents: Tensor) -> Tensor:
    """(B, N, D) as upstream has it, (B, D, 1, N)."""
    return latents.mT[:, :, None]


def gradients(model: Pretrained) -> dict[str, Tensor | None]:
    """Of the parameters by upstream's names; parameters without one are left out."""
    own = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}
    shadow = dict(to_upstream(_Shadow(model.family, own)))  # type: ignore[arg-type]
    return dict(shadow)


class _Shadow:
    """Stands for a model whose tensors are the gradients of another."""

    def __init__(self, family: str, tensors: dict[str, Tensor]):
        self.family, self._tensors = family, tensors

    def state_dict(self) -> dict[str, Tensor]:
        return self._tensors
