"""What a converted model is, in words: its sizes in a line, and the card of its folder."""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from vtok.data.files import shown_name
from vtok.models.quantizers.config import FsqConfig
from vtok.tokenizers.fqgan import FqganConfig
from vtok.tokenizers.llamagen_vq import LlamagenVqConfig
from vtok.tokenizers.maskgit_vqgan import MaskgitVqganConfig
from vtok.tokenizers.titok_vae import TitokVaeConfig
from vtok.tokenizers.tokenflow import TokenflowConfig
from vtok.weights.convert.files import Converted
from vtok.weights.convert.generators import network_in_words, network_of
from vtok.weights.convert.names import listed
from vtok.weights.convert.upstream import Recognised
from vtok.weights.table import TABLE, Upstream

_CARD = """\
---
library_name: vtok
{header}tags:
- vtok
- image-tokenizer
---

# {title}

{name}, converted for vtok.

- *Sizes*: {sizes}.
- *From*: `{file}`, SHA-256 `{sha256}`{left_out}.
- *Licence*: {licence}
- *Intended use, training data, metrics and limits*: {about}

```python
import vtok

tokenizer = vtok.load("./{title}")  # this folder; or its id on the hub
```
"""
_UNKNOWN = "not known here; look it up where the file is from."


def name_in_words(found: Recognised) -> str:
    """`TiTok-L-32 (family titok)`, or `titok of no official size`."""
    return found.name if found.official is None else f"{found.official} (family {found.family})"


@dataclass(frozen=True)
class StringSizes:
    """Of one string.

    Args:
        num_tokens: tokens or latents.
        codebook_sizes: codes of each sub-token's table; none for latents.
        dims: numbers of a code of each table, or of a latent.
    """

    num_tokens: int
    codebook_sizes: tuple[int, ...]
    dims: tuple[int, ...]


def string_of(config: Any) -> StringSizes:
    """The string that a model of this configuration, which upstream has, makes of a tile."""
    if isinstance(config, MaskgitVqganConfig):
        return StringSizes((config.image_size // config.downsample) ** 2, (config.codebook_size,), (config.latent_dim,))
    if isinstance(config, LlamagenVqConfig | FqganConfig):
        tables: Any = [b.quantizer for b in config.branches] if isinstance(config, FqganConfig) else [config.quantizer]
        squares = (config.image_size // config.downsample) ** 2
        return StringSizes(squares, tuple(own.codebook_size for own in tables), tuple(own.dim for own in tables))
    if isinstance(config, TitokVaeConfig):
        return StringSizes(config.num_tokens, (), (config.dim,))
    own: Any = config.quantizer
    if isinstance(config, TokenflowConfig):
        return StringSizes(sum(rows * cols for rows, cols in own.sizes), (own.part.codebook_size,), (own.part.dim,))
    if isinstance(own, FsqConfig):
        return StringSizes(own.num_tokens, (math.prod(own.levels),), (len(own.levels),))
    return StringSizes(own.num_tokens, (own.codebook_size,), (own.dim,))


def sizes_in_words(found: Recognised) -> str:
    """`encoder 512 wide, 8 deep; decoder 512 wide, 8 deep; 128 tokens of 4,096 codes of 12 numbers; 256 x 256 pixels`."""
    config: Any = found.config
    if network_of(config) is not None:
        return network_in_words(config)
    if isinstance(config, MaskgitVqganConfig | LlamagenVqConfig | FqganConfig):
        networks = f"networks of {', '.join(map(str, config.widths))} channels"
    elif isinstance(config, TokenflowConfig):
        widths = " and ".join(", ".join(map(str, own.widths)) for own in (config.encoder, config.decoder))
        networks = f"a {config.semantic_encoder.kind} tower; networks of {widths} channels"
    else:
        parts = {"encoder": config.encoder, "decoder": config.decoder}
        networks = "; ".join(f"{name} {own.dim} wide, {own.depth} deep" for name, own in parts.items())
    string = string_of(config)
    kind = f"tokens of {_sum(string.codebook_sizes)} codes" if string.codebook_sizes else "latents"
    return f"{networks}; {string.num_tokens:,} {kind} of {_sum(string.dims)} numbers; {config.image_size} x {config.image_size} pixels"


def left_out_in_words(converted: Converted) -> str:
    """`; left out 2 tensors that the model does not need (a, b)`, nothing where there are none."""
    number = len(converted.extra)
    names = shown_name(listed(converted.extra))
    return f"; left out {number} tensor{'s'[: number > 1]} that the model does not need ({names})" if number else ""


def card_of(converted: Converted, title: str) -> str:
    """The `README.md` of a converted model: what it is, which file it is from, and where its licence is to be looked up."""
    found = converted.found
    with converted.file.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    header, licence, about = "", _UNKNOWN, "not stated."
    rows = {row.source.repo: row for row in TABLE.values() if isinstance(row.source, Upstream) and row.official == found.official}
    if rows:
        row, places = next(iter(rows.values())), " or ".join(f"https://huggingface.co/{repo}" for repo in rows)
        header = f"{_licence_header(row.licence)}\n"
        licence = f"{row.licence} if these are the published weights, which sizes do not prove. {_told(row.terms)} Look it up at {places}."
        about = f"see {places} and https://arxiv.org/abs/{row.paper}."
    return _CARD.format(
        header=header,
        title=title,
        name=name_in_words(found),
        sizes=sizes_in_words(found),
        file=converted.file.name,
        sha256=sha256,
        left_out=left_out_in_words(converted),
        licence=licence,
        about=about,
    )


def _sum(numbers: Iterable[int]) -> str:
    return " + ".join(f"{number:,}" for number in numbers)


def _told(terms: str) -> str:
    return f"Known of them here: {terms}."


def _licence_header(licence: str) -> str:
    """Of the card, which has other names for what is no SPDX licence."""
    own = licence.removeprefix("LicenseRef-")
    return f"license: {licence.lower()}" if own == licence else f"license: other\nlicense_name: {own.lower()}"
