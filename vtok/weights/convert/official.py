"""The sizes of the official models, by the names that their papers give them."""

from collections.abc import Iterable

from pydantic import BaseModel

from vtok.models.conv import ConvConfig
from vtok.models.latent_token_encoder import VitConfig
from vtok.models.quantizers.config import VqConfig
from vtok.models.semantic_decoder import SemanticDecoderConfig
from vtok.models.towers import SiglipConfig, VitaminConfig
from vtok.models.transformer import TransformerConfig
from vtok.tokenizers.flextok import FlextokConfig
from vtok.tokenizers.fqgan import BranchConfig, FqganConfig
from vtok.tokenizers.llamagen_vq import LlamagenVqConfig
from vtok.tokenizers.maskgit_vqgan import MaskgitVqganConfig
from vtok.tokenizers.tatitok import TaTitokConfig, TaTitokVaeConfig
from vtok.tokenizers.titok import PixelTitokConfig, TitokConfig
from vtok.tokenizers.titok_vae import TitokVaeConfig
from vtok.tokenizers.tokenflow import SCALES, TokenflowConfig, square_scales
from vtok.weights.convert.flextok import HEAD_WIDTH, FlextokHints, autoencoder_of, by_tensors
from vtok.weights.convert.fqgan import DUAL, TRIPLE

SMALL, BASE, LARGE = VitConfig(dim=512, depth=8, heads=8), VitConfig(dim=768, depth=12, heads=12), VitConfig(dim=1024, depth=24, heads=16)

BY_16, BY_8 = (1, 1, 2, 2, 4), (1, 2, 2, 4)  # channels of convolutions that make a token of so many pixels a side


def _pair(encoder: VitConfig, decoder: VitConfig) -> dict[str, VitConfig]:
    return {"encoder": encoder, "decoder": decoder}


def _two_stage(size: VitConfig, num_tokens: int) -> TitokConfig:
    return TitokConfig(**_pair(size, size), quantizer=VqConfig(kind="spherical_vq", num_tokens=num_tokens, dim=12, codebook_size=4096))


def _vq8k(num_tokens: int) -> VqConfig:
    return VqConfig(num_tokens=num_tokens, dim=64, codebook_size=8192)


def _flextok(encoder: int, decoder: int) -> FlextokConfig:
    """Of these depths; a head is added with each block."""
    encoder_size, decoder_size = (TransformerConfig(dim=HEAD_WIDTH * depth, depth=depth, heads=depth) for depth in (encoder, decoder))
    autoencoder = autoencoder_of([128, 256, 512, 512], 2, channels=16, scaling_factor=FlextokHints.scaling_factor)
    return FlextokConfig(encoder=encoder_size, decoder=decoder_size, max_time=FlextokHints.max_time, autoencoder=autoencoder)


def _fqgan(multiples: tuple[int, ...], branches: Iterable[str]) -> FqganConfig:
    return FqganConfig(multiples=multiples, branches=tuple(BranchConfig(name=name) for name in branches))


def _tokenflow(image_size: int, tower: SiglipConfig | VitaminConfig, side: int) -> TokenflowConfig:
    """With a tower of 1,152 numbers, which are told as they are."""
    teller = SemanticDecoderConfig(dim=1152, side=side, out_dim=1152)
    return TokenflowConfig(image_size=image_size, semantic_encoder=tower, semantic_decoder=teller, quantizer=square_scales(SCALES[side]))


OFFICIAL: dict[str, tuple[str, BaseModel]] = {
    "MaskGIT-VQGAN": ("maskgit_vqgan", MaskgitVqganConfig()),
    "TiTok-L-32": ("titok", _two_stage(LARGE, 32)),
    "TiTok-B-64": ("titok", _two_stage(BASE, 64)),
    "TiTok-S-128": ("titok", _two_stage(SMALL, 128)),
    "One-D-Piece-S-256": ("one_d_piece", _two_stage(SMALL, 256)),
    "One-D-Piece-B-256": ("one_d_piece", _two_stage(BASE, 256)),
    "One-D-Piece-L-256": ("one_d_piece", _two_stage(LARGE, 256)),
    "TiTok-BL-64 VQ8k": ("titok_pixel", PixelTitokConfig(**_pair(BASE, LARGE), quantizer=_vq8k(64))),
    "TiTok-BL-128 VQ8k": ("titok_pixel", PixelTitokConfig(**_pair(BASE, LARGE), quantizer=_vq8k(128))),
    "TiTok-SL-256 VQ8k": ("titok_pixel", PixelTitokConfig(**_pair(SMALL, LARGE), quantizer=_vq8k(256))),
    "TiTok-LL-32 VAE": ("titok_vae", TitokVaeConfig(**_pair(LARGE, LARGE), num_tokens=32)),
    "TiTok-BL-64 VAE": ("titok_vae", TitokVaeConfig(**_pair(BASE, LARGE), num_tokens=64)),
    "TiTok-BL-128 VAE": ("titok_vae", TitokVaeConfig(**_pair(BASE, LARGE), num_tokens=128)),
    "TA-TiTok-BL-32 VQ": ("tatitok", TaTitokConfig(**_pair(BASE, LARGE), quantizer=_vq8k(32))),
    "TA-TiTok-BL-64 VQ": ("tatitok", TaTitokConfig(**_pair(BASE, LARGE), quantizer=_vq8k(64))),
    "TA-TiTok-BL-128 VQ": ("tatitok", TaTitokConfig(**_pair(BASE, LARGE), quantizer=_vq8k(128))),
    "TA-TiTok-BL-32 VAE": ("tatitok_vae", TaTitokVaeConfig(**_pair(BASE, LARGE), num_tokens=32)),
    "TA-TiTok-BL-64 VAE": ("tatitok_vae", TaTitokVaeConfig(**_pair(BASE, LARGE), num_tokens=64)),
    "TA-TiTok-SL-128 VAE": ("tatitok_vae", TaTitokVaeConfig(**_pair(SMALL, LARGE), num_tokens=128)),
    "FlexTok d12-d12": ("flextok", _flextok(12, 12)),
    "FlexTok d18-d18": ("flextok", _flextok(18, 18)),
    "FlexTok d18-d28": ("flextok", _flextok(18, 28)),
    "LlamaGen VQ-16": ("llamagen_vq", LlamagenVqConfig(multiples=BY_16)),
    "LlamaGen VQ-8": ("llamagen_vq", LlamagenVqConfig(multiples=BY_8)),
    "FQGAN-Dual VQ-16": ("fqgan", _fqgan(BY_16, DUAL)),
    "FQGAN-Triple VQ-16": ("fqgan", _fqgan(BY_16, TRIPLE)),
    "FQGAN-Dual VQ-8": ("fqgan", _fqgan(BY_8, DUAL)),
    "FQGAN-Triple VQ-8": ("fqgan", _fqgan(BY_8, TRIPLE)),
    "TokenFlow CLIP-B": ("tokenflow", TokenflowConfig()),
    "TokenFlow CLIP-B enhanced": (
        "tokenflow",
        TokenflowConfig(image_size=256, decoder=ConvConfig(dim=256, num_blocks=4), quantizer=square_scales(SCALES[16])),
    ),
    "TokenFlow ViTamin-XL": ("tokenflow", _tokenflow(256, VitaminConfig(), 16)),
    "TokenFlow SigLIP": ("tokenflow", _tokenflow(384, SiglipConfig(), 27)),
}


def official_name(family: str, config: BaseModel) -> str | None:
    """The official model of a family and sizes; that of the second stage, with a word for it, of a first one."""
    first_stage = family.endswith("_proxy")
    wanted = (family.removesuffix("_proxy"), by_tensors(config) if isinstance(config, FlextokConfig) else config)
    for name, own in OFFICIAL.items():
        if own == wanted:
            return f"{name}, first stage" if first_stage else name
    return None
