"""FQGAN (arXiv 2411.16681): as LlamaGen's VQ, with codebooks that are kept from saying the same and drawn to what is to be seen."""

from collections.abc import Sequence
from typing import Self, cast

from pydantic import model_validator
from torch import Tensor, nn

from vtok.models.quantizers import Quantized
from vtok.tokenizers.fqgan import FqganConfig, FqganTokenizer
from vtok.train.losses.class_features import ClassFeatureConfig, ClassFeatureLoss
from vtok.train.objectives.vq_pixels import VqPixelConfig, VqPixelObjective
from vtok.train.samples.batch import Batch


class BranchFeatureConfig(ClassFeatureConfig):
    """What a branch is drawn to.

    Args:
        branch: its name.
    """

    branch: str


class FqganObjectiveConfig(VqPixelConfig):
    """Settings of the training.

    Args:
        model: sizes.
        representation: what branches are drawn to, at most one a branch; those without go free.
    """

    model: FqganConfig = FqganConfig()
    representation: tuple[BranchFeatureConfig, ...] = ()

    @model_validator(mode="after")
    def _branches_are_there(self) -> Self:
        names, wanted = [branch.name for branch in self.model.branches], [own.branch for own in self.representation]
        if unknown := sorted(set(wanted) - set(names)):
            raise ValueError(f"representation speaks of a branch {unknown[0]}, the branches are {', '.join(names)}")
        if len(set(wanted)) < len(wanted):
            raise ValueError("representation speaks of a branch twice")
        return self


class FqganObjective(VqPixelObjective):
    """Losses of pictures, of the quantizer and of what branches know of a picture.

    Raises:
        ConfigError: a teacher of another kind, or heads that do not divide its width.
        MissingExtraError, WeightsError: a frozen network that is not at hand.
    """

    Config = FqganObjectiveConfig
    config: FqganObjectiveConfig
    model: FqganTokenizer

    def __init__(self, config: FqganObjectiveConfig):
        super().__init__(config)
        self.representation = nn.ModuleList(ClassFeatureLoss(own) for own in config.representation)

    def make(self) -> FqganTokenizer:
        return FqganTokenizer(self.config.model)

    def begin_beside(self, seed: int) -> Sequence[nn.Module]:
        widths, num_vectors = self.model.quantizer.widths, self.model.spec.max_tokens
        for number, loss in self._of_branches():
            loss.begin(widths[number], num_vectors, seed)
        return list(self.representation)

    def further_losses(self, batch: Batch, quantized: Quantized) -> dict[str, Tensor]:
        vectors, branches = self.model.quantizer.slices(quantized.vectors), self.config.model.branches
        return {f"representation_{branches[number].name}": loss(vectors[number], batch.images) for number, loss in self._of_branches()}

    def _of_branches(self) -> list[tuple[int, ClassFeatureLoss]]:
        """The numbers of the branches that are drawn to something, and by which loss."""
        names = [branch.name for branch in self.config.model.branches]
        pairs = zip(self.config.representation, self.representation, strict=True)
        return [(names.index(own.branch), cast(ClassFeatureLoss, loss)) for own, loss in pairs]
