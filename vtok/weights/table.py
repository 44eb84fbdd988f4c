"""The table of published weights, named `architecture.tag`, ours by their recipe. No torch here, so that `vtok models` is quick.

Nobody here has seen the files of upstream's rows: what the rows say is what papers and hub pages say, and a digest is not made up.
"""

import difflib
from dataclasses import dataclass
from fnmatch import fnmatchcase

from vtok.errors import UnknownModelError

DEFAULT = "photo64"


@dataclass(frozen=True)
class Bundled:
    """Weights inside the package: a folder beside this file."""

    folder: str


@dataclass(frozen=True)
class Hub:
    """Weights on the hub: `organisation/name`, and the commit in 40 hex digits."""

    repo: str
    revision: str


@dataclass(frozen=True)
class Upstream:
    """One file of those who trained the weights, converted when it is loaded.

    Args:
        repo: `organisation/name` on the hub.
        file: path inside it.
        revision: branch, tag or commit; None for what the hub's `main` is at the time.
        configured: whether a `config.json` may lie beside the file that says what tensors do not; both then lie in no folder.
    """

    repo: str
    file: str
    revision: str | None = None
    configured: bool = False


@dataclass(frozen=True)
class Weights:
    """One row: where the weights are and what they are.

    Args:
        name: `architecture.tag`; weights of ours have the name of their recipe.
        family: name of the tokenizer family.
        source: where the model folder is, or upstream's file.
        licence: SPDX identifier of the weights' licence; `LicenseRef-...` where none of the list fits.
        digest: code digest, 64 hex digits: equal digests read each other's ids. None where nobody here has seen the weights.
        sha256: of the tensor file, 64 hex digits; checked after a download. None likewise.
        official: the name that the weights have in `convert.official`, which has their sizes; for upstream's.
        paper: arXiv number of the paper that describes the method.
        rfid: reconstruction FID as published, not measured here.
        gfid: of a generator, FID of its pictures as published, not measured here.
        tokenizer: of a generator, the weights whose strings it makes.
        num_values: numbers of the model in the file, as published.
        note: what the weights are for, one line.
        terms: what else their user should know of their terms, one line.

    Raises:
        ValueError: digests that are none, none where the weights are ours, or upstream's weights without an official name.
    """

    name: str
    family: str
    source: Bundled | Hub | Upstream
    licence: str
    digest: str | None = None
    sha256: str | None = None
    official: str | None = None
    paper: str | None = None
    rfid: float | None = None
    gfid: float | None = None
    tokenizer: str | None = None
    num_values: int | None = None
    note: str = ""
    terms: str = ""

    def __post_init__(self) -> None:
        digests = (self.digest, self.sha256)
        if not all(len(bytes.fromhex(h)) == 32 for h in digests if h is not None):
            raise ValueError(f"{self.name}: digests are 64 hex digits")
        if isinstance(self.source, Upstream):
            if self.official is None:
                raise ValueError(f"{self.name}: upstream's weights have an official name")
        elif None in digests:
            raise ValueError(f"{self.name}: weights of ours have digests")


RESEARCH = "models trained on ImageNet are for research purposes only"


def _titok(tag: str, official: str, repo: str, rfid: float, num_values: int, *, family: str) -> Weights:
    return Weights(
        f"titok_{tag}.imagenet",
        family=family,
        source=Upstream(f"yucornetto/tokenizer_titok_{repo}_imagenet", "model.safetensors"),
        licence="Apache-2.0",
        official=official,
        paper="2406.07550",
        rfid=rfid,
        num_values=num_values,
        terms=RESEARCH,
    )


def _tatitok(tag: str, official: str, rfid: float, num_values: int, *, family: str) -> Weights:
    return Weights(
        f"tatitok_{tag}.datacomp",
        family=family,
        source=Upstream(f"turkeyju/tokenizer_tatitok_{tag}", "model.safetensors"),
        licence="Apache-2.0",
        official=official,
        paper="2501.07730",
        rfid=rfid,
        num_values=num_values,
        terms="their hub page was not seen; the licence is the one that the published code tags such pages with",
    )


def _one_d_piece(size: str, rfid: float, num_values: int, *, terms: str) -> Weights:
    return Weights(
        f"one_d_piece_{size.lower()}256.imagenet",
        family="one_d_piece",
        source=Upstream(f"turing-motors/One-D-Piece-{size}-256", "pytorch_model.bin"),
        licence="Apache-2.0",
        official=f"One-D-Piece-{size}-256",
        paper="2501.10064",
        rfid=rfid,
        num_values=num_values,
        terms=terms,
    )


def _flextok(tag: str, official: str, rfid: float | None, num_values: int) -> Weights:
    return Weights(
        f"flextok_{tag}",
        family="flextok",
        source=Upstream(f"EPFL-VILAB/flextok_{tag.replace('.', '_')}", "model.safetensors", configured=True),
        licence="LicenseRef-Apple-ML-Research",
        official=official,
        paper="2502.13967",
        rfid=rfid,
        num_values=num_values,
        note="" if rfid is None else f"{official}, its rFID with 32 of its 256 tokens",
        terms="Apple's research licence (LICENSE_WEIGHTS beside the code): non-commercial research only; their hub page was not seen",
    )


def _llamagen_vq(step: int, rfid: float, num_values: int) -> Weights:
    return Weights(
        f"llamagen_vq{step}.imagenet",
        family="llamagen_vq",
        source=Upstream("FoundationVision/LlamaGen", f"vq_ds{step}_c2i.pt"),
        licence="MIT",
        official=f"LlamaGen VQ-{step}",
        paper="2406.06525",
        rfid=rfid,
        num_values=num_values,
        terms="their hub page was not seen; the licence is that of the published code",
    )


def _fqgan(kind: str, step: int, rfid: float, num_values: int) -> Weights:
    return Weights(
        f"fqgan_{kind.lower()}_vq{step}.imagenet",
        family="fqgan",
        source=Upstream("ZechenBai/FQGAN", f"fqgan_{kind.lower()}_ds{step}.pt"),
        licence="CC-BY-NC-4.0",
        official=f"FQGAN-{kind} VQ-{step}",
        paper="2411.16681",
        rfid=rfid,
        num_values=num_values,
        terms="non-commercial, as is the published code; their hub page was not seen",
    )


def _tokenflow(tag: str, official: str, file: str, rfid: float, num_values: int, *, tower: str) -> Weights:
    return Weights(
        f"tokenflow_{tag}",
        family="tokenflow",
        source=Upstream("ByteFlow-AI/TokenFlow", file),
        licence="Apache-2.0",
        official=official,
        paper="2412.03069",
        rfid=rfid,
        num_values=num_values,
        terms=f"their hub page was not seen; the licence is that of the published code, the tower inside is {tower}",
    )


def _llamagen(size: str, side: int, gfid: float | None, num_values: int, file: str, *, text: bool = False) -> Weights:
    told = "" if side == 256 else f" {side}"
    return Weights(
        f"llamagen_{size.lower()}.{'t2i' if text else 'c2i'}_{side}",
        family="gpt",
        source=Upstream("FoundationVision/LlamaGen", file),
        licence="MIT",
        official=f"LlamaGen-{size}{' text' if text else ''}{told}",
        paper="2406.06525",
        gfid=gfid,
        tokenizer="llamagen_vq16.imagenet",
        num_values=num_values,
        note="" if not text else f"LlamaGen-{size} for captions, as flan-t5-xl embeds them",
        terms="their hub page was not seen; the licence is that of the published code",
    )


def _maskgit(tag: str, official: str, gfid: float, num_values: int, *, repo: str, file: str, paper: str) -> Weights:
    return Weights(
        f"maskgit_{tag}.imagenet",
        family="maskgit",
        source=Upstream(repo, file),
        licence="Apache-2.0",
        official=official,
        paper=paper,
        gfid=gfid,
        tokenizer=f"{tag}.imagenet",
        num_values=num_values,
        terms=f"their hub page was not seen; {RESEARCH}",
    )


def _titok_maskgit(tag: str, official: str, gfid: float, num_values: int) -> Weights:
    place = {"repo": "fun-research/TiTok", "file": f"generator_titok_{tag}.bin"}
    return _maskgit(f"titok_{tag}", f"MaskGIT {official}", gfid, num_values, paper="2406.07550", **place)


def _one_d_piece_maskgit(size: str, gfid: float) -> Weights:
    place = {"repo": f"turing-motors/MaskGIT_One-D-Piece-{size}-256", "file": "pytorch_model.bin"}
    return _maskgit(f"one_d_piece_{size.lower()}256", "MaskGIT One-D-Piece", gfid, 177_374_464, paper="2501.10064", **place)


def _rar(size: str, gfid: float, num_values: int) -> Weights:
    return Weights(
        f"rar_{size.lower()}.imagenet",
        family="rar",
        source=Upstream("yucornetto/RAR", f"rar_{size.lower()}.bin"),
        licence="Apache-2.0",
        official=f"RAR-{size}",
        paper="2411.00776",
        gfid=gfid,
        tokenizer="maskgit_vqgan.imagenet",
        num_values=num_values,
        terms=f"their hub page was not seen; {RESEARCH}",
    )


_AS_S256 = f"their hub page was not seen, the licence is that of the page of S-256; {RESEARCH}"

TABLE: dict[str, Weights] = {
    w.name: w
    for w in (
        Weights(
            DEFAULT,
            family="nested",
            source=Bundled("photo64"),
            licence="CC-BY-NC-4.0",
            digest="26a90e0c81214ce32aa2d5bd1cc43a895dc8a37d67f9c414cd26e49b05ba201c",
            sha256="e7504605f13785458573f74e71ce3c4a5b06378b52b70e0b2dedc5cc79522c66",
            note="the default: photographs in tiles of 64 pixels, up to 128 tokens of 12 bits each, on the latents of taef2",
            terms="trained on photographs of research sets, some without a stated licence; see docs/models/photo64.md",
        ),
        _one_d_piece("S", 1.48, 83_871_247, terms=RESEARCH),
        _one_d_piece("B", 1.11, 205_256_463, terms=_AS_S256),
        _one_d_piece("L", 1.08, 641_742_863, terms=_AS_S256),
        _titok("l32", "TiTok-L-32", "l32", 2.21, 641_054_735, family="titok"),
        _titok("b64", "TiTok-B-64", "b64", 1.70, 204_814_095, family="titok"),
        _titok("s128", "TiTok-S-128", "s128", 1.71, 83_674_639, family="titok"),
        _titok("bl64_vq8k", "TiTok-BL-64 VQ8k", "bl64_vq8k", 2.06, 390_016_148, family="titok_pixel"),
        _titok("bl128_vq8k", "TiTok-BL-128 VQ8k", "bl128_vq8k", 1.49, 390_179_988, family="titok_pixel"),
        _titok("sl256_vq8k", "TiTok-SL-256 VQ8k", "sl256_vq8k", 1.03, 330_260_884, family="titok_pixel"),
        _titok("ll32_vae", "TiTok-LL-32 VAE", "ll32_vae_c16", 1.61, 606_879_604, family="titok_vae"),
        _titok("bl64_vae", "TiTok-BL-64 VAE", "bl64_vae_c16", 1.25, 389_418_100, family="titok_vae"),
        _titok("bl128_vae", "TiTok-BL-128 VAE", "bl128_vae_c16", 0.84, 389_581_940, family="titok_vae"),
        _tatitok("bl32_vq", "TA-TiTok-BL-32 VQ", 3.95, 390_800_532, family="tatitok"),
        _tatitok("bl64_vq", "TA-TiTok-BL-64 VQ", 2.43, 390_882_452, family="tatitok"),
        _tatitok("bl128_vq", "TA-TiTok-BL-128 VQ", 1.53, 391_046_292, family="tatitok"),
        _tatitok("bl32_vae", "TA-TiTok-BL-32 VAE", 1.53, 390_202_484, family="tatitok_vae"),
        _tatitok("bl64_vae", "TA-TiTok-BL-64 VAE", 1.47, 390_284_404, family="tatitok_vae"),
        _tatitok("sl128_vae", "TA-TiTok-SL-128 VAE", 0.90, 330_275_188, family="tatitok_vae"),
        _flextok("d12_d12.in1k", "FlexTok d12-d12", 4.20, 341_651_737),
        _flextok("d18_d18.in1k", "FlexTok d18-d18", 1.61, 949_734_553),
        _flextok("d18_d28.in1k", "FlexTok d18-d28", 1.45, 2_540_882_841),
        _flextok("d18_d28.dfn", "FlexTok d18-d28", None, 2_540_882_841),
        _llamagen_vq(16, 2.19, 71_883_403),
        _llamagen_vq(8, 0.59, 70_109_835),
        _fqgan("Dual", 16, 0.94, 111_294_355),
        _fqgan("Triple", 16, 0.76, 131_657_883),
        _fqgan("Dual", 8, 0.32, 110_307_219),
        _fqgan("Triple", 8, 0.24, 131_063_963),
        _tokenflow(
            "clip_b.256", "TokenFlow CLIP-B enhanced", "tokenflow_clipb_32k_enhanced.pt", 1.37, 376_569_643, tower="OpenAI's CLIP, MIT"
        ),
        _tokenflow("siglip.384", "TokenFlow SigLIP", "tokenflow_siglip_32k.pt", 0.63, 523_529_803, tower="Google's SigLIP, Apache-2.0"),
        Weights(
            "maskgit_vqgan.imagenet",
            family="maskgit_vqgan",
            source=Upstream("fun-research/TiTok", "maskgit-vqgan-imagenet-f16-256.bin"),
            licence="Apache-2.0",
            official="MaskGIT-VQGAN",
            paper="2202.04200",
            rfid=2.28,
            num_values=54_515_587,
            terms=RESEARCH,
        ),
        _llamagen("B", 256, 5.46, 110_888_448, "c2i_B_256.pt"),
        _llamagen("B", 384, 6.09, 110_888_448, "c2i_B_384.pt"),
        _llamagen("L", 256, 3.80, 342_910_976, "c2i_L_256.pt"),
        _llamagen("L", 384, 3.07, 342_910_976, "c2i_L_384.pt"),
        _llamagen("XL", 384, 2.62, 774_699_520, "c2i_XL_384.pt"),
        _llamagen("XXL", 384, 2.34, 1_410_972_672, "c2i_XXL_384.pt"),
        _llamagen("3B", 384, 2.18, 3_096_659_200, "c2i_3B_384.pt"),
        _llamagen("XL", 256, None, 777_923_840, "t2i_XL_stage1_256.pt", text=True),
        _llamagen("XL", 512, None, 777_923_840, "t2i_XL_stage2_512.pt", text=True),
        _titok_maskgit("l32", "TiTok-L-32", 2.77, 177_202_432),
        _titok_maskgit("b64", "TiTok-B-64", 2.48, 177_227_008),
        _titok_maskgit("s128", "TiTok-S-128", 1.97, 294_990_848),
        _one_d_piece_maskgit("S", 2.67),
        _one_d_piece_maskgit("B", 2.70),
        _one_d_piece_maskgit("L", 2.35),
        _rar("B", 1.95, 260_923_648),
        _rar("L", 1.70, 461_668_352),
        _rar("XL", 1.50, 955_425_024),
        _rar("XXL", 1.48, 1_498_520_704),
    )
}


def weights(name: str) -> Weights:
    """Look up published weights.

    Raises:
        UnknownModelError: no such name; the message has the nearest.
    """
    if name in TABLE:
        return TABLE[name]
    near = difflib.get_close_matches(name, TABLE, n=3)
    hint = f"did you mean {' or '.join(near)}?" if near else "`vtok models` lists the names."
    raise UnknownModelError(f"no weights named {name!r}; {hint} A model folder, or organisation/name on the hub, will do too")


def names(pattern: str = "*") -> list[str]:
    """Names of published weights that match a glob, sorted."""
    return sorted(name for name in TABLE if fnmatchcase(name, pattern))


def name_of(digest: bytes) -> str | None:
    """The weights whose code digest starts with these bytes, None where the table has none."""
    for row in TABLE.values():
        if row.digest is not None and bytes.fromhex(row.digest).startswith(digest):
            return row.name
    return None
