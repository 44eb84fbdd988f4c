"""The table of weights as the page `docs/models.md`."""

from vtok.weights.convert.official import OFFICIAL
from vtok.weights.convert.words import string_of
from vtok.weights.load import load_tokenizer
from vtok.weights.table import TABLE, Bundled, Hub, Upstream, Weights

_PAGE = """\
# Models

What `vtok.load(NAME)` and `--model NAME` take by name. This page is written by `vtok models --markdown`.

{table}

## Generators

What `vtok generate NAME` takes by name. Each makes strings of a tokenizer above, which is loaded with it.

{generators}

Their published FID is that of 50,000 pictures at 256 x 256 pixels against ImageNet's, with the published way of drawing; not measured here.

## Terms

{terms}

## Weights of others

`photo64` is inside the package ([its page](models/photo64.md)). All others are files of those who trained them. A file is downloaded
into the hub's cache when it is loaded for the first time. Each time it is compared with the checksum that the hub stated of it, and
converted in memory; names and shapes of all tensors must be those of the official model (a FlexTok's file may hold more, and those of
LlamaGen, FQGAN and TokenFlow what their trainings needed, which is left out). Without a network, a copy of the file works by its path:

```
vtok convert tokenizer_titok_l32.bin -o titok-l32
vtok encode photo.jpg -o photo.vtok --model titok-l32
```

`vtok convert` takes files, and folders with a file and `config.json`; official sizes and others; models after the second stage of
training, and after the first with `--proxy` and the file of a MaskGIT-VQGAN. No code in a file is run.

A checkpoint of a training (`.pt`) is taken for its averaged weights, or for its weights where it has none of those. LlamaGen's VQ takes
pictures of any size in whole squares of 16 or 8 pixels; its tiles have 256, since tensors do not say on which they were trained. The
sub-tokens of an FQGAN are in the order in which its authors' generator predicts them: first what draws, then what is to be seen.

TokenFlow's strings are maps of rising size, and may be cut after each. With CLIP's tower it was trained at 224 x 224 pixels and is used at
256 x 256, as its authors do, at positions between the learned ones and with one scale more. With SigLIP's it needs transformers, with
ViTamin's, of which no weights are known, timm (`pip install "vtok[models]"`).

FlexTok needs diffusers (`pip install "vtok[models]"`). What its tensors do not say is read from `config.json`, or else from the header of
the file; where neither says it, it is what is reported of the official models: levels (8, 8, 8, 5, 5, 5), `max_timestep` 1000,
`scaling_factor` 0.18215, heads of 64. A configuration that asks for what vtok does not compute is refused. Converted models decode in 20
steps with guidance 7.5 ("apg"), as their authors advise, and encode the most probable latents of the autoencoder, where the published code
draws them: so a picture has the same tokens each time. The autoencoders of FlexTok alone, `EPFL-VILAB/flextok_vae_c4`, `_c8` and `_c16`,
are in diffusers' layout, which `vtok cache-latents --autoencoder` takes.

The files were not at hand when this was written: no checksum is known beforehand, and no commit, so the hub's `main` is taken. What
vtok computes was compared with the published code activation by activation, on small models, not with these weights.

Continuous weights (`_vae`) have no tokens to store: `vtok compare` takes them, `vtok encode` does not.

## Published rFID

Said by papers and repositories, not measured here: reconstruction FID on 50,000 validation pictures of ImageNet at 256 x 256, lower is
better.

- TiTok: a user of the published file of S-128 measured 3.91 where 1.71 is stated, and had no answer; others found 2.22 with L-32.
- Continuous weights: with latents drawn at random, as their code does in evaluation too. vtok decodes the means.
- One-D-Piece: with all 256 tokens.
- TA-TiTok: with the caption "A photo of a CLASS." for each picture.
- MaskGIT-VQGAN: as an author of TiTok quotes it.
- LlamaGen's VQ-16: 0.94 at 384 x 384 and 0.70 at 512 x 512 pixels, the pictures made smaller for the comparison.
- TokenFlow: with CLIP as a later paper quotes it, which does not say of which decoder; with SigLIP at 384 x 384 pixels.
- FlexTok: with 32 of 256 tokens, from a table that compares methods; of `flextok_d18_d28.dfn` no figure is known.
"""
_GENERATOR_HEAD = ("name", "family", "tokenizer", "values", "published FID", "paper", "hub id and file", "licence")
_HEAD = ("name", "family", "tokens", "codebook", "values", "published rFID", "paper", "hub id and file", "licence")


def models_page() -> str:
    """Markdown: the table, the terms it points to, and what is known of the figures."""
    terms = list(dict.fromkeys(row.terms for row in TABLE.values() if row.terms))
    tokenizers = [_cells(row, terms) for row in TABLE.values() if row.tokenizer is None]
    generators = [_generator_cells(row, terms) for row in TABLE.values() if row.tokenizer is not None]
    told = "\n".join(f"{number}. {text}." for number, text in enumerate(terms, 1))
    return _PAGE.format(table=_table(_HEAD, tokenizers), generators=_table(_GENERATOR_HEAD, generators), terms=told)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows))


def _generator_cells(row: Weights, terms: list[str]) -> tuple[str, ...]:
    _, family, *_ = shared = _shared_cells(row, terms)
    fid = "-" if row.gfid is None else f"{row.gfid:.2f}"
    return (shared[0], family, f"`{row.tokenizer}`", f"{row.num_values:,}", fid, *shared[2:])


def _cells(row: Weights, terms: list[str]) -> tuple[str, ...]:
    tokens, codebook, values = _sizes(row)
    return (
        f"`{row.name}`",
        row.family,
        tokens,
        codebook,
        values,
        "-" if row.rfid is None else f"{row.rfid:.2f}",
        *_shared_cells(row, terms)[2:],
    )


def _shared_cells(row: Weights, terms: list[str]) -> tuple[str, ...]:
    """Name, family, paper, place, licence."""
    return (
        f"`{row.name}`",
        row.family,
        "-" if row.paper is None else f"[{row.paper}](https://arxiv.org/abs/{row.paper})",
        "in the package" if isinstance(row.source, Bundled) else _place(row.source),
        f"{row.licence} ({terms.index(row.terms) + 1})" if row.terms else row.licence,
    )


def _place(source: Hub | Upstream) -> str:
    file = f", {source.file}" if isinstance(source, Upstream) else ""
    return f"[{source.repo}](https://huggingface.co/{source.repo}){file}"


def _sizes(row: Weights) -> tuple[str, str, str]:
    """Tokens, codes, and how many numbers the weights have."""
    if row.official is None:
        model = load_tokenizer(row.name)
        codes = " + ".join(f"{size:,}" for size in model.spec.codebook_sizes)
        return f"{model.spec.max_tokens}", codes, f"{sum(value.numel() for value in model.state_dict().values()):,}"
    string = string_of(OFFICIAL[row.official][1])
    tables = [f"{size:,} x {dim}" for size, dim in zip(string.codebook_sizes, string.dims, strict=False)]
    codes = " + ".join(tables) or f"continuous, {string.dims[0]}"
    return f"{string.num_tokens}", codes, "-" if row.num_values is None else f"{row.num_values:,}"
