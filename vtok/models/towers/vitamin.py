"""ViTamin (arXiv 2404.02132), by the library timm."""

from typing import Any, cast

from torch import Tensor, nn

from vtok.errors import ConfigError, MissingExtraError
from vtok.models.towers.base import CLIP_MEAN, CLIP_STD, Shown, Tower


class VitaminTower(Tower):
    """What its last block gives for each patch, not normed.

    Args:
        name: of the model in timm.
        image_size: side of all pictures in pixels.

    Raises:
        MissingExtraError: timm is not installed.
        ConfigError: timm has no such model.
    """

    model: Any  # of a library without types that mypy could follow
    patch_size = 16

    def __init__(self, name: str, image_size: int):
        super().__init__()
        try:
            import timm
        except ImportError as error:
            needs = f"a ViTamin needs a library that is not installed ({error})"
            raise MissingExtraError(f'{needs}: pip install "vtok[models]"') from None
        if name not in (known := timm.list_models("vitamin_*")):
            raise ConfigError(f"timm has no ViTamin {name!r}; there are {', '.join(known)}")
        self.shown = Shown(CLIP_MEAN, CLIP_STD)
        self.model = timm.create_model(name, pretrained=False, num_classes=0, img_size=image_size)
        self.model.fc_norm = nn.Identity()
        self.dim = int(self.model.embed_dim)

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.model.forward_features(self.shown(images)))

    def set_gradient_checkpointing(self, on: bool) -> None:
        self.model.set_grad_checkpointing(on)
