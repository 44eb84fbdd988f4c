"""The contract of a generator: new strings of tokens, which its tokenizer makes pictures of."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, field_validator
from torch import Tensor

from vtok.errors import ConfigError, UnsupportedError, VtokError, WeightsError
from vtok.generate.lengths import Lengths, lengths_of
from vtok.models.conditions import Given
from vtok.tokenizers.base import Tokenizer, Tokens
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.spec import TokenSpec
from vtok.weights.load import load_tokenizer

Own = TypeVar("Own")


class GeneratorConfig(BaseModel):
    """What every generator says of its strings.

    Args:
        tokenizer: a name, folder or hub id, of what makes pictures of them.
        code_digest: SHA-256 of what gives its ids their meaning; empty for published weights, which say nothing of it.
        spec: of the strings, as `TokenSpec.to_json` has it.
        class_names: of the class ids, where they are known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    tokenizer: str
    code_digest: str = ""
    spec: dict[str, Any]
    class_names: tuple[str, ...] | None = None

    @field_validator("spec")
    @classmethod
    def _is_a_spec(cls, values: dict[str, Any]) -> dict[str, Any]:
        try:
            TokenSpec.from_json(values)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return values


class Generator(Pretrained, ABC, Generic[Own]):
    """A family of generators. A class sets `family` and `Config`, and `Options`, a frozen dataclass of how strings are drawn.

    Args:
        config: of its own class.
    """

    Options: Any  # its class
    config: GeneratorConfig
    spec: TokenSpec

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        self.spec = TokenSpec.from_json(config.spec)

    @abstractmethod
    def draw(self, num: int, condition: Given, lengths: Tensor, seed: int, options: Own, prefix: Tensor | None) -> Tensor:
        """Ids (num, N, K) int64 of strings of lengths (num,), N the longest, beginning with a prefix (num, P, K); 0 beyond a length.

        Raises: as `sample`.
        """

    @abstractmethod
    def changed(self, options: Own, changes: Mapping[str, Any]) -> Own:
        """Options with some values of one's own.

        Args:
            changes: by the names `guidance`, `schedule`, `power`, `temperature`, `top_k`, `top_p`, `steps`, as far as the family has them.

        Raises:
            UnsupportedError: a name that the family does not have.
            ConfigError: a value that makes no sense.
        """

    @abstractmethod
    def bits(self, ids: Tensor, classes: Tensor | None) -> Tensor:
        """(B, N) bits that each token of strings (B, N, K) costs, in the order and with the knowledge that it is drawn with."""

    def sample(
        self,
        num: int,
        condition: Given = None,
        num_tokens: Lengths | None = None,
        seed: int = 0,
        options: Own | None = None,
        *,
        prefix: Tensor | None = None,
    ) -> Tokens:
        """New strings, on the device of the generator.

        Args:
            num: how many.
            condition: classes (num,) int64, or captions; None for none.
            num_tokens: of all strings, or of each; None for full length. A shorter string is the first part of the longer one.
            seed: of the first string; string i has seed + i, whatever is drawn beside it.
            options: of the class `Options`; None takes its defaults.
            prefix: (num, P, K) int64, what the strings begin with, such as the first tokens of a picture; None draws all.

        Raises:
            ConfigError: no string asked, a seed below 0, options that make no sense, or a prefix of another shape or with unknown ids.
            LengthError: a number of tokens that does not decode, or no more than the prefix has.
            UnsupportedError: a condition that the generator does not know, guidance where it knows no "no condition", or a prefix where
                strings do not grow from their beginning.
        """
        if seed < 0:
            raise ConfigError(f"a seed is 0 or more, got {seed}")
        lengths = lengths_of(num_tokens, num, self.spec.max_tokens)
        for length in lengths.unique().tolist():
            self.spec.check_length(length)
        ids = self.draw(num, condition, lengths, seed, self.Options() if options is None else options, prefix)
        return Tokens(ids, lengths.to(ids.device), self.spec)

    def decoder(self) -> Tokenizer:
        """The tokenizer that makes pictures of the strings, on the CPU.

        Raises:
            WeightsError: it is not at hand, or gives ids another meaning.
        """
        name = self.config.tokenizer
        try:
            tokenizer = load_tokenizer(name)
        except VtokError as error:
            raise WeightsError(f"the tokenizer {name} of this generator cannot be loaded: {error}") from None
        self.check_tokenizer(tokenizer, name)
        return tokenizer

    def check_tokenizer(self, tokenizer: Tokenizer, name: str) -> None:
        """Look that a tokenizer reads these strings.

        Raises:
            WeightsError: its codes are others.
        """
        if self.config.code_digest and tokenizer.code_digest != self.config.code_digest:
            raise WeightsError(
                f"{name} gives ids another meaning ({tokenizer.code_digest[:8]}) than the tokenizer that this generator was trained with "
                f"({self.config.code_digest[:8]}, {self.config.tokenizer}); use that one"
            )
        spec = tokenizer.spec if tokenizer.spec.grid is None else tokenizer.spec_for(*self.spec.input_size)
        own = (spec.codebook_sizes, spec.max_tokens)
        if own != (self.spec.codebook_sizes, self.spec.max_tokens):
            raise WeightsError(f"{name} has strings of {own[1]} tokens and codebooks {own[0]}, this generator's differ: {self.spec}")

    def example_classes(self, num: int) -> Tensor | None:  # noqa: ARG002 - for those that know classes
        """Classes (num,) int64 spread over all; None where it knows none."""
        return None

    def _refuse_others(self, changes: Collection[str], known: Collection[str]) -> None:
        """Raise `UnsupportedError` where something is to be changed that the family does not have."""
        if unknown := sorted(set(changes) - set(known)):
            raise UnsupportedError(f"the family {self.family} has no {unknown[0].replace('_', '-')}; it has: {', '.join(known)}")
