"""A table of upstream's tensors to one of our models, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel
from torch import Tensor

from vtok.errors import ConfigError, WeightsError
from vtok.models.quantizers.config import FsqConfig, StringConfig, VqConfig
from vtok.models.quantizers.config import build as build_quantizer
from vtok.models.quantizers.part_config import PartConfig, VqPart
from vtok.tokenizers.flextok import FlextokConfig
from vtok.tokenizers.fqgan import FqganConfig
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.registry import family
from vtok.weights.convert import flextok, fqgan, llamagen_vq, maskgit, maskgit_vqgan, titok, tokenflow
from vtok.weights.convert.flextok import FlextokHints
from vtok.weights.convert.generators import found_generator, is_generator, network_of
from vtok.weights.convert.names import Rule, listed, to_ours, to_theirs
from vtok.weights.convert.official import official_name
from vtok.weights.convert.official_generators import official_generator
from vtok.weights.convert.titok import Hints

LEFT_OUT = frozenset({"quantize.embed_prob"})  # a running mean of clustered training, of no use after it
NOT_NEEDED = {  # beginnings of names that files of a family may hold beside the model, such as a head that only training needs
    "flextok": ("",),
    "maskgit": tuple(maskgit.IGNORED),
    "fqgan": fqgan.NOT_NEEDED,
    "llamagen_vq": llamagen_vq.NOT_NEEDED,
    "tokenflow": tokenflow.NOT_NEEDED,
}
KNOWN = (
    "TiTok, One-D-Piece, TA-TiTok, MaskGIT-VQGAN, FlexTok, FQGAN, LlamaGen's VQ, TokenFlow; "
    "generators of LlamaGen, FAR, TiTok, One-D-Piece, RAR"
)
_FIRST_STAGE = "is a TiTok or One-D-Piece in its first stage, which names codes of a MaskGIT-VQGAN"


@dataclass(frozen=True)
class Recognised:
    """What a table of tensors is.

    Args:
        family: of the model.
        config: its sizes.
        rules: from its names to ours.
    """

    family: str
    config: BaseModel
    rules: tuple[Rule, ...]

    @property
    def official(self) -> str | None:
        """The official model of these sizes."""
        network = network_of(self.config)
        return official_name(self.family, self.config) if network is None else official_generator(network)

    @property
    def name(self) -> str:
        """The official model's, or the family's."""
        return self.official or f"{self.family} of no official size"


def recognise(
    state: Mapping[str, Tensor],
    *,
    proxy: Mapping[str, Tensor] | None = None,
    hints: Hints | FlextokHints | None = None,
    tokenizer: str | None = None,
    file: str = "",
) -> Recognised:
    """Tell what upstream's tensors are.

    Args:
        state: upstream's tensors by name.
        proxy: those of the MaskGIT-VQGAN, for a TiTok in its first stage, which has none of them.
        hints: what tensors do not say. Those of another kind of model say nothing.
        tokenizer: of a generator, whose strings it makes; None for the one that it was published with.
        file: name of the file, which may say how large a generator's pictures are.

    Raises:
        WeightsError: nothing that is known here, or tensors are missing that tell of sizes, or a proxy or tokenizer is missing or too much.
    """
    try:
        if is_generator(state):
            _refuse(proxy)
            return Recognised(*found_generator(state, tokenizer=tokenizer, file=file))
        if tokenizer is not None:
            raise WeightsError("is no generator, so it has no tokenizer; leave --tokenizer out")
        if titok.is_titok(state):
            return _titok(state, proxy, hints if isinstance(hints, Hints) else Hints())
        if maskgit_vqgan.is_maskgit_vqgan(state):
            _refuse(proxy)
            config = family("maskgit_vqgan").Config(**maskgit_vqgan.sizes(state).model_dump())
            return Recognised("maskgit_vqgan", config, maskgit_vqgan.RULES)
        if llamagen_vq.is_llamagen_vq(state):
            _refuse(proxy)
            return Recognised("llamagen_vq", llamagen_vq.sizes(state), llamagen_vq.RULES)
        if fqgan.is_fqgan(state):
            _refuse(proxy)
            told = hints if isinstance(hints, Hints) else Hints()
            return Recognised("fqgan", fqgan.sizes(state, told), fqgan.rules(state))
        if tokenflow.is_tokenflow(state):
            _refuse(proxy)
            told = hints if isinstance(hints, Hints) else Hints()
            return Recognised("tokenflow", tokenflow.sizes(state, told), tokenflow.rules(state))
        if flextok.is_flextok(state):
            _refuse(proxy)
            own = hints if isinstance(hints, FlextokHints) else FlextokHints()
            return Recognised("flextok", flextok.sizes(state, own), flextok.rules(state, own))
    except KeyError as error:
        raise WeightsError(f"lacks the tensor {error.args[0]}") from None
    except (ValueError, IndexError) as error:
        raise WeightsError(f"has tensors of sizes that no model has ({' '.join(str(error).split())[:200]})") from None
    raise WeightsError(f"is no model of those that are known here ({KNOWN}); its tensors are {listed(state) or 'none'}")


def from_upstream(
    state: Mapping[str, Tensor],
    *,
    proxy: Mapping[str, Tensor] | None = None,
    hints: Hints | FlextokHints | None = None,
    tokenizer: str | None = None,
) -> Pretrained:
    """A model with upstream's weights, in eval mode and without gradients.

    Args:
        state, proxy, hints, tokenizer: as of `recognise`.

    Raises:
        WeightsError: nothing that is known here; or missing, unknown, misshapen or not finite tensors, which the message names.
    """
    return build(state, recognise(state, proxy=proxy, hints=hints, tokenizer=tokenizer), proxy=proxy)[0]


def build(
    state: Mapping[str, Tensor], found: Recognised, *, proxy: Mapping[str, Tensor] | None = None
) -> tuple[Pretrained, tuple[str, ...]]:
    """`from_upstream` of tensors that were recognised as `found`, and the names of those that the model has no use for.

    Raises:
        WeightsError: missing, unknown, misshapen or not finite tensors.
    """
    whole = {name: value for name, value in state.items() if name not in LEFT_OUT} | ({} if proxy is None else _pixel_parts(proxy))
    model = _empty(found)
    expected = to_theirs(model.state_dict(), found.rules)
    extra = {name for name in whole.keys() - expected.keys() if name.startswith(NOT_NEEDED.get(found.family, ()))}
    whole = {name: value for name, value in whole.items() if name not in extra}
    _check(whole, expected)
    of_itself = {name: value for name, value in model.state_dict().items() if not value.is_meta}
    model.load_state_dict(of_itself | to_ours(_apart(whole), found.rules), assign=True)
    model.after_load()
    return model.eval().requires_grad_(False), tuple(sorted(extra))


def to_upstream(model: Pretrained) -> dict[str, Tensor]:
    """Upstream's tensors of one of our models. Of a first stage they are without the MaskGIT-VQGAN's, as upstream stores it.

    Raises:
        WeightsError: a family that upstream does not have, or not with this quantizer.
    """
    for own in _quantizers(getattr(model, "config", None)):
        if not _is_upstreams(model.family, own):
            raise WeightsError(f"no upstream repository has the family {model.family} with this quantizer, {own.model_dump()['kind']}")
    state = model.state_dict()
    return to_theirs(state, _rules_of(model.family, state))


def _quantizers(config: Any) -> Sequence[BaseModel]:
    """Those that a model's configuration speaks of."""
    own = [branch.quantizer for branch in config.branches] if isinstance(config, FqganConfig) else [getattr(config, "quantizer", None)]
    return [quantizer for quantizer in own if isinstance(quantizer, StringConfig | PartConfig)]


def _is_upstreams(name: str, quantizer: BaseModel) -> bool:
    """Whether upstream's models of a family have such a quantizer."""
    match name:
        case "flextok":
            return isinstance(quantizer, FsqConfig)
        case "fqgan" | "llamagen_vq":
            return isinstance(quantizer, VqPart) and quantizer.kind == "spherical_vq"
        case "tokenflow":
            return tokenflow.is_published(quantizer)
    return isinstance(quantizer, VqConfig) and quantizer.shared


def _empty(found: Recognised) -> Pretrained:
    """The model without its tensors, but with those that upstream does not store."""
    try:
        with torch.device("meta"):
            model = family(found.family)(found.config)
        if isinstance(found.config, FlextokConfig):
            model.quantizer = build_quantizer(found.config.quantizer)
    except ConfigError as error:
        raise WeightsError(f"has sizes that no model has ({error})") from None
    return model


def _titok(state: Mapping[str, Tensor], proxy: Mapping[str, Tensor] | None, hints: Hints) -> Recognised:
    two_stage = titok.is_two_stage(state)
    rules = titok.rules(two_stage=two_stage)
    if not two_stage or titok.has_pixels(state):
        _refuse(proxy)
        return Recognised(*titok.family_and_config(state, hints), rules)
    if proxy is None:
        raise WeightsError(f"{_FIRST_STAGE}: give that one's file too, `vtok convert ... --proxy FILE`")
    name, config = titok.family_and_config(dict(state) | _pixel_parts(proxy), hints)
    return Recognised(f"{name}_proxy", config, rules)


def _refuse(proxy: Mapping[str, Tensor] | None) -> None:
    if proxy is not None:
        raise WeightsError("makes its pixels by itself; a MaskGIT-VQGAN goes with a TiTok or One-D-Piece in its first stage only")


def _pixel_parts(proxy: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Codes and decoder of a MaskGIT-VQGAN by the names that they have in a second stage."""
    return {f"pixel_{name}": value for name, value in proxy.items() if not name.startswith("encoder.")}


def _rules_of(name: str, state: Mapping[str, Tensor]) -> tuple[Rule, ...]:
    """Of a family, whose model has such tensors."""
    match name:
        case "fqgan":
            return fqgan.rules(state)
        case "llamagen_vq":
            return llamagen_vq.RULES
        case "maskgit_vqgan":
            return maskgit_vqgan.RULES
        case "titok" | "one_d_piece":
            return titok.rules(two_stage=True)
        case "titok_proxy" | "one_d_piece_proxy":
            return tuple(rule for rule in titok.rules(two_stage=True) if rule not in titok.PIXEL_RULES)
        case "titok_pixel" | "titok_vae" | "tatitok" | "tatitok_vae":
            return titok.rules(two_stage=False)
        case "flextok":
            return flextok.RULES
        case "tokenflow":
            return tokenflow.rules(state)
    raise WeightsError(f"no upstream repository has the family {name}")


def _check(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Look that names and shapes, both by upstream's names, are those expected, and all values finite floats."""
    fitting = {name: state[name] for name in expected.keys() & state.keys() if state[name].shape == expected[name].shape}
    floats = {name: value for name, value in fitting.items() if value.is_floating_point()}
    faults = {
        "lacks": expected.keys() - state.keys(),
        "has unknown": state.keys() - expected.keys(),
        "has wrong shapes for": (expected.keys() & state.keys()) - fitting.keys(),
        "has no floats in": fitting.keys() - floats.keys(),
        "has values that are not finite in": {
            name for name, value in floats.items() if not value.is_meta and not value.float().isfinite().all()
        },
    }
    if any(faults.values()):
        raise WeightsError("; ".join(f"{verb} {listed(names)}" for verb, names in faults.items() if names))


def _apart(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor in memory of its own, which a file need not give them."""
    seen: set[int] = set()
    own = {}
    for name, value in state.items():
        place = value.untyped_storage().data_ptr()
        own[name] = value.clone() if place in seen else value
        seen.add(place)
    return own
