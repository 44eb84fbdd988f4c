"""Strings of tokens from a network that foretells each from those before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from vtok.errors import ConfigError, LengthError, UnsupportedError
from vtok.generate.lengths import Lengths, lengths_of
from vtok.generate.sampling.choose import Choice, choose
from vtok.generate.sampling.guidance import Guidance
from vtok.generate.sampling.noise import StringNoise
from vtok.generate.steps import CachedSteps, NewSteps
from vtok.models.conditions import Given
from vtok.models.flow.guidance import classifier_free
from vtok.models.gpt import Gpt
from vtok.models.packed_linear import packed

Own = TypeVar("Own", Choice, Guidance)


@dataclass(frozen=True)
class Sampling:
    """How strings are drawn.

    Args:
        choice: how a code is chosen; one for all codebooks, or one each.
        guidance: likewise.
        seed: of the first string; string i has seed + i, so that none depends on the strings beside it. At least 0.

    Raises:
        ConfigError: a seed below 0.
    """

    choice: Choice | Sequence[Choice] = Choice()  # noqa: RUF009 - frozen
    guidance: Guidance | Sequence[Guidance] = Guidance()  # noqa: RUF009 - frozen
    seed: int = 0

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"a seed is 0 or more, got {self.seed}")


@torch.no_grad()
def sample(
    model: Gpt,
    num: int,
    given: Given = None,
    *,
    num_tokens: Lengths | None = None,
    sampling: Sampling = Sampling(),
    prefix: Tensor | None = None,
    new_steps: NewSteps = CachedSteps,
) -> tuple[Tensor, Tensor]:
    """Draw strings; a shorter one is the first part of what would have been drawn.

    Args:
        model: the network, in any mode; it is used without dropout. `packed` is called on it, which takes a tenth of a second for a hundred
            million weights on a processor; to draw many times, give it what `packed` gives.
        num: strings.
        given: their conditions; None for strings without one.
        num_tokens: of all strings, or of each; None for full length.
        prefix: (num, P, K) int64, what the strings begin with; the rest is drawn. None draws all.
        new_steps: `WholeSteps` computes everything anew for each token.

    Returns:
        ids (num, N, K) int64 with N the longest length, 0 beyond a string's own; lengths (num,) int64. Both are on the model's device.

    Raises:
        LengthError: a number of tokens that the string does not have, or no more than its prefix.
        UnsupportedError: a condition that the network does not know, or guidance where it knows no "no condition".
        ConfigError: choices or guidances for another number of codebooks.
    """
    config, device = model.config, model.head.norm.weight.device
    lengths = _lengths(num_tokens, num, config.max_tokens)
    given = given if given is None else given.to(device)
    model.condition.check(given, num)
    order = lengths.argsort(descending=True, stable=True)  # so that strings that still grow are always the first ones
    draws = _Draws(model, sampling, order.tolist(), int(lengths.max()))
    if prefix is None:
        prefix = torch.empty(num, 0, len(config.codebook_sizes), dtype=torch.int64)
    check_prefix(prefix, lengths, config.codebook_sizes)
    started = prefix.to(device)[order.to(device)]
    given = given if given is None else given[order.to(device)]
    ids = _grown(packed(model).eval(), given, started, lengths[order].tolist(), draws, new_steps)
    return ids[order.argsort().to(device)], lengths.to(device)


class _Draws:
    """Draws for one token after another.

    Args:
        order: the strings' numbers, by which they are seeded.
        longest: tokens of the longest string.
    """

    def __init__(self, model: Gpt, sampling: Sampling, order: Sequence[int], longest: int):
        num_codebooks = len(model.config.codebook_sizes)
        self.choices = _one_each(sampling.choice, num_codebooks, "choices")
        self.guidances = _one_each(sampling.guidance, num_codebooks, "guidances")
        self.noise = StringNoise(sampling.seed + number for number in order)
        self.max_tokens = model.config.max_tokens
        self.token = 0
        self.paired = 0  # first tokens for which each string is a pair of rows, with and without its condition
        if guided := max(guidance.tokens(longest) for guidance in self.guidances):
            self.paired = guided
            if not model.condition.has_null:
                raise UnsupportedError("this generator has no 'no condition', so it cannot be guided; a scale of 1 is no guidance")

    @property
    def rows(self) -> int:
        """For each string."""
        return 2 if self.token < self.paired else 1

    def __call__(self, codebook: int, logits: Tensor) -> Tensor:
        """Ids (R,) of the current token by logits (R, V); both rows of a pair get the same."""
        logits, choice = logits.float(), self.choices[codebook]
        if self.rows == 2:
            scale = self.guidances[codebook].at(self.token, self.max_tokens)
            logits = logits[::2] if scale == 1 else classifier_free(logits[::2], logits[1::2], scale)
        noise = None if choice.greedy else self.noise(*logits.shape).to(logits.device)
        return choose(logits, choice, noise).repeat_interleave(self.rows)


def _grown(model: Gpt, given: Given, prefix: Tensor, lengths: Sequence[int], draws: _Draws, new_steps: NewSteps) -> Tensor:
    """Ids (num, N, K) of strings of such lengths, the longest first, that begin with a prefix."""
    num, longest, per_token = len(lengths), lengths[0], model.config.steps_per_token
    draws.token = prefix.shape[1]
    start = draws.token * per_token
    before, seen = model.condition(given, num), model.condition.seen(given)
    if draws.rows == 2:
        before = torch.stack([before, model.condition(None, num)], 1).flatten(0, 1)
        seen = None if seen is None else seen.repeat_interleave(2, 0)
    ids = torch.zeros(num, longest * per_token, len(model.config.codebook_sizes) // per_token, dtype=torch.int64, device=before.device)
    if start:
        ids[:, :start] = prefix.reshape(num, start, -1)
        before = torch.cat([before, model.embeddings(prefix).repeat_interleave(draws.rows, 0)], 1)
    steps, memory = new_steps(model, len(before), longest * per_token - 1, seen), model.head.memory(len(before))
    drawn = ids
    for step in range(start, longest * per_token):
        x = before if step == start else model.embeddings.next(drawn, step - 1)
        drawn = model.head.draw(steps(x), step, model.embeddings, draws, memory)  # (R, K), or (R, 1) of a part of a token
        ids[: len(drawn) // draws.rows, step] = drawn[:: draws.rows]
        if (step + 1) % per_token == 0:
            rows = draws.rows
            draws.token += 1
            drawn = drawn[: rows * sum(length > draws.token for length in lengths)]
            if draws.rows < rows:
                steps.keep(slice(None, None, 2))
                drawn = drawn[::2]
    return ids.unflatten(1, (longest, per_token)).flatten(2)


def check_prefix(prefix: Tensor, lengths: Tensor, codebook_sizes: Sequence[int]) -> None:
    """Look that strings of such lengths can begin with a prefix (num, P, K).

    Raises:
        LengthError: a string that the prefix fills.
        ConfigError: ids of another shape, or that no codebook has.
    """
    if prefix.ndim != 3 or prefix.dtype != torch.int64 or len(prefix) != len(lengths) or prefix.shape[2] != len(codebook_sizes):
        raise ConfigError(f"a prefix is ({len(lengths)}, P, {len(codebook_sizes)}) int64, got {tuple(prefix.shape)} {prefix.dtype}")
    if bool(((prefix < 0) | (prefix >= prefix.new_tensor(tuple(codebook_sizes)))).any()):
        raise ConfigError(f"a prefix has ids of codebooks of {', '.join(map(str, codebook_sizes))} codes, got {int(prefix.max())}")
    if int(lengths.min()) <= prefix.shape[1]:
        raise LengthError(f"a string of {int(lengths.min())} tokens that begins with {prefix.shape[1]} leaves nothing to generate")


def _lengths(num_tokens: Lengths | None, num: int, most: int) -> Tensor:
    """(num,) int64 on the processor."""
    wanted = lengths_of(num_tokens, num, most)
    low, high = int(wanted.min()), int(wanted.max())
    if not 1 <= low <= high <= most:
        raise LengthError(f"{high if high > most else low} tokens asked, this generator's strings have 1 to {most}")
    return wanted


def _one_each(own: Own | Sequence[Own], num_codebooks: int, name: str) -> Sequence[Own]:
    """One for each codebook."""
    each = own if isinstance(own, Sequence) else [own] * num_codebooks
    if len(each) != num_codebooks:
        raise ConfigError(f"{len(each)} {name} for {num_codebooks} codebooks; give one for all or one each")
    return each
