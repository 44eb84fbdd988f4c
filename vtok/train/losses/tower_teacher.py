"""What a frozen tower says of each patch of a picture."""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vtok.data.files import expand_home
from vtok.data.tensor_file import read_tensors
from vtok.errors import WeightsError
from vtok.models.towers import AnyTower, ClipConfig, Shown, SiglipConfig, Tower, build
from vtok.models.towers.base import CLIP_MEAN, CLIP_STD
from vtok.train.losses.local_tower import local_tower
from vtok.weights.convert.names import TABLES, Rule, to_ours

RANDOM = "random"
PROJECTION = "visual_projection.weight"  # of CLIP's features to those that are compared with texts
TRUNK = "visual.trunk."  # before the names of a ViTamin that lies beside a network for texts
_BLOCK = "encoder.layers.#."
_CLIP_RULES = (  # from the names in the library transformers
    Rule("embeddings.class_embedding", "class_token", TABLES),
    Rule("embeddings.patch_embedding.weight", "patch_embed.weight"),
    Rule("embeddings.position_embedding.weight", "positions"),
    Rule("pre_layrnorm.", "norm_in."),
    *(Rule(f"{_BLOCK}self_attn.{name}_proj.", "transformer.blocks.#.qkv.", part=(number, 3)) for number, name in enumerate("qkv")),
    *(
        Rule(f"{_BLOCK}{theirs}.", f"transformer.blocks.#.{ours}.")
        for theirs, ours in {
            "layer_norm1": "attention_norm",
            "self_attn.out_proj": "attention_out",
            "layer_norm2": "mlp_norm",
            "mlp.fc1": "mlp_in",
            "mlp.fc2": "mlp_out",
        }.items()
    ),
    Rule("post_layernorm.", "norm_out."),
)
_SIGLIP_RULES = (
    Rule("embeddings.patch_embedding.", "patch_embed."),
    Rule("embeddings.position_embedding.weight", "positions"),
    Rule(_BLOCK, "blocks.#."),
)


class TowerTeacher(nn.Module):
    """A tower that sees pictures as it was trained to, and with CLIP the projection of its features.

    Args:
        tower: with its weights.
        projection: (dim, W); None takes features as they are.
    """

    projection: Tensor | None

    def __init__(self, tower: Tower, projection: Tensor | None = None):
        super().__init__()
        self.tower = tower
        self.register_buffer("projection", projection)
        self.dim = tower.dim if projection is None else len(projection)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, N, dim) of the patches of images (B, 3, S, S) in [0, 1], row by row."""
        features: Tensor = self.tower(images)
        return features if self.projection is None else features @ self.projection.T.to(features.dtype)


class RandomTeacher(nn.Module):
    """Fixed random mixtures of the colours of 2 x 2 fields of a patch: no weights needed, for checks that training works.

    Args:
        side: rows and columns of patches.
        dim: of a feature.
    """

    table: Tensor  # (12, dim)

    def __init__(self, side: int, dim: int):
        super().__init__()
        self.side, self.dim = side, dim
        self.register_buffer("table", torch.randn(12, dim, generator=torch.Generator().manual_seed(0)))

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, side^2, dim) of images (B, 3, S, S) in [0, 1]."""
        fields = interpolate(images, (2 * self.side, 2 * self.side), mode="area")
        return rearrange(fields - 0.5, "b c (rows h) (cols w) -> b (rows cols) (c h w)", h=2, w=2) @ self.table


def tower_teacher(name: str, config: AnyTower, image_size: int) -> TowerTeacher:
    """A tower of these sizes with its weights, for pictures of so many pixels a side.

    Args:
        name: of a CLIP or a SigLIP, see `local_tower.local_tower`; of a ViTamin a file of its tensors.

    Raises:
        MissingExtraError: a library is not installed.
        WeightsError: no weights, or of other sizes.
        ConfigError: a network of another kind.
    """
    match config:
        case ClipConfig():
            _, theirs = local_tower(name, {"clip": "CLIPVisionModelWithProjection"})
            state = theirs.state_dict()
            tower = _filled(build(config, image_size), to_ours(_without(state, "vision_model."), _CLIP_RULES), name)
            tower.shown = Shown(CLIP_MEAN, CLIP_STD)
            return TowerTeacher(tower, state[PROJECTION])
        case SiglipConfig():
            _, theirs = local_tower(name, {"siglip": "SiglipVisionModel"})
            state = to_ours(_without(theirs.state_dict(), "vision_model."), _SIGLIP_RULES)
            return TowerTeacher(_filled(build(config, image_size), state, name))
        case _:
            file = expand_home(name)
            if not file.is_file():
                raise WeightsError(f"no file {name}: the weights of {config.name} belong there (.safetensors, or saved by torch)")
            state = {f"model.{key}": value for key, value in _without(read_tensors(file), TRUNK).items()}
            return TowerTeacher(_filled(build(config, image_size), state, name))


def _without(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """With names that may have a prefix or not."""
    return {key.removeprefix(prefix): value for key, value in state.items()}


def _filled(tower: Tower, state: dict[str, Tensor], name: str) -> Tower:
    """The tower with its tensors of `state`, which may hold more.

    Raises:
        WeightsError: tensors are missing, or have other shapes.
    """
    own = tower.state_dict()
    wrong = sorted(key for key, value in own.items() if key not in state or state[key].shape != value.shape)
    if wrong:
        raise WeightsError(f"the tower {name} is of other sizes than the model's: {len(wrong)} tensors differ, {wrong[0]} among them")
    tower.load_state_dict({key: state[key].float() for key in own})
    return tower
