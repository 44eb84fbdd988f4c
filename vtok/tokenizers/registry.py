"""The registry of families, of tokenizers and of generators: a name in `config.json` to a class, imported when it is used."""

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from vtok.errors import UnknownModelError

if TYPE_CHECKING:
    from vtok.tokenizers.pretrained import Pretrained

FAMILIES: dict[str, str] = {
    "flextok": "vtok.tokenizers.flextok:FlextokTokenizer",
    "fqgan": "vtok.tokenizers.fqgan:FqganTokenizer",
    "linear": "vtok.tokenizers.linear:LinearTokenizer",
    "llamagen_vq": "vtok.tokenizers.llamagen_vq:LlamagenVq",
    "maskgit_vqgan": "vtok.tokenizers.maskgit_vqgan:MaskgitVqgan",
    "nested": "vtok.tokenizers.nested:NestedTokenizer",
    "one_d_piece": "vtok.tokenizers.one_d_piece:OneDPiece",
    "one_d_piece_proxy": "vtok.tokenizers.one_d_piece:ProxyOneDPiece",
    "tatitok": "vtok.tokenizers.tatitok:TaTitok",
    "tatitok_vae": "vtok.tokenizers.tatitok:TaTitokVae",
    "titok": "vtok.tokenizers.titok:Titok",
    "titok_pixel": "vtok.tokenizers.titok:PixelTitok",
    "titok_proxy": "vtok.tokenizers.titok:ProxyTitok",
    "titok_vae": "vtok.tokenizers.titok_vae:TitokVae",
    "tokenflow": "vtok.tokenizers.tokenflow:TokenflowTokenizer",
    "vae": "vtok.tokenizers.vae:Vae",
}
GENERATORS: dict[str, str] = {
    "gpt": "vtok.generate.families.gpt:GptGenerator",
    "maskgit": "vtok.generate.families.maskgit:MaskgitGenerator",
    "next_scale": "vtok.generate.families.next_scale:NextScaleGenerator",
    "rar": "vtok.generate.families.rar:RarGenerator",
}
PREFIX_FAMILIES = ("flextok", "linear", "nested", "one_d_piece")  # of those, what any prefix of a string decodes with


ALL = FAMILIES | GENERATORS


def family(name: str, families: Mapping[str, str] = ALL) -> "type[Pretrained]":
    """The class of a family; only names in the registry are ever imported.

    Raises:
        UnknownModelError: no such family; the message names the nearest.
    """
    if name not in families:
        near = difflib.get_close_matches(name, families, n=3) or sorted(families)
        raise UnknownModelError(f"no family named {name!r}; did you mean {' or '.join(near)}? A newer vtok may have more")
    module, _, class_name = families[name].partition(":")
    found: type[Pretrained] = getattr(import_module(module), class_name)
    return found
