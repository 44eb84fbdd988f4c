"""How published generators are drawn from, by their names in the table of weights: what their FID was measured with."""

from typing import Any

from vtok.generate.families.gpt import GptOptions
from vtok.generate.masked import Decay, MaskedOptions
from vtok.generate.permuted import RarOptions
from vtok.generate.sampling.choose import Choice
from vtok.generate.sampling.guidance import Guidance


def _masked(steps: int, guidance: float, decay: Decay, temperature: float, *, annealing: bool = True) -> MaskedOptions:
    return MaskedOptions(steps, guidance, decay, temperature=temperature, annealing=annealing)


def _rar(temperature: float, guidance: float, power: float) -> RarOptions:
    return RarOptions(Choice(temperature), Guidance(guidance, "cosine", power))


def _gpt(guidance: float) -> GptOptions:
    return GptOptions(guidance=Guidance(guidance))


PUBLISHED: dict[str, Any] = {
    "maskgit_titok_l32.imagenet": _masked(8, 4.5, "linear", 9.5),
    "maskgit_titok_b64.imagenet": _masked(8, 3.0, "linear", 11.0),
    "maskgit_titok_s128.imagenet": _masked(64, 6.9, "power-cosine", 2.8),
    "maskgit_one_d_piece_s256.imagenet": _masked(16, 12.5, "power-cosine", 3.0, annealing=False),
    "maskgit_one_d_piece_b256.imagenet": _masked(16, 8.5, "power-cosine", 2.5, annealing=False),
    "maskgit_one_d_piece_l256.imagenet": _masked(16, 5.5, "power-cosine", 3.0, annealing=False),
    "rar_b.imagenet": _rar(1.0, 16.0, 2.75),
    "rar_l.imagenet": _rar(1.02, 15.5, 2.5),
    "rar_xl.imagenet": _rar(1.02, 6.9, 1.5),
    "rar_xxl.imagenet": _rar(1.02, 8.0, 1.2),
    "llamagen_b.c2i_256": _gpt(2.0),
    "llamagen_b.c2i_384": _gpt(2.0),
    "llamagen_l.c2i_256": _gpt(2.0),
    "llamagen_l.c2i_384": _gpt(2.0),
    "llamagen_xl.c2i_384": _gpt(1.75),
    "llamagen_xxl.c2i_384": _gpt(1.75),
    "llamagen_3b.c2i_384": _gpt(1.65),
    "llamagen_xl.t2i_256": GptOptions(Choice(top_k=1000), Guidance(7.5)),
    "llamagen_xl.t2i_512": GptOptions(Choice(top_k=1000), Guidance(7.5)),
}
