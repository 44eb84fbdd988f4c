"""The contract between the loop and what is trained."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import torch
from pydantic import BaseModel

from vtok.tokenizers.base import Tokenizer
from vtok.train.pictures import Pictures


class Objective(Protocol):
    """What a run trains. The class is built from its own section of the recipe, before any picture is read.

    A frozen network without its weight file stops the run there, with a WeightsError that names the file.
    """

    Config: ClassVar[type[BaseModel]]
    config: Any  # of the class Config, all defaults filled in

    def __init__(self, config: Any) -> None: ...

    def prepare(self, pictures: Pictures, generator: torch.Generator) -> Tokenizer:
        """The closed-form start (PCA, k-means; for `linear` all there is).

        Args:
            generator: of every random draw.

        Raises:
            DataError: too few or too small pictures.
        """


Table = Mapping[str, str]  # name of an objective -> "module:Class", imported when used
