"""TiTok's and One-D-Piece's first stage: name the codes that a frozen MaskGIT-VQGAN has in each cell (arXiv 2406.07550, section 3.3)."""

from typing import cast

import torch
from torch import Tensor

from vtok.errors import ConfigError
from vtok.models.maskgit_vqgan import MaskgitConfig
from vtok.models.quantizers.codebook_training import CodebookTrainingConfig
from vtok.tokenizers.maskgit_vqgan import MaskgitVqgan, MaskgitVqganConfig
from vtok.tokenizers.one_d_piece import ProxyOneDPiece
from vtok.tokenizers.prefix import Full
from vtok.tokenizers.pretrained import Pretrained
from vtok.tokenizers.titok import PixelTitokConfig, ProxyTitok, Titok, TitokConfig
from vtok.train.codebook_steps import CodebookSteps
from vtok.train.losses.frozen_network import FrozenNetwork
from vtok.train.losses.proxy_codes import proxy_code_loss
from vtok.train.objective import Losses
from vtok.train.objectives.strings import RANDOM, REVIVAL, StringConfig, StringObjective, drawn, loaded
from vtok.train.samples.batch import Batch
from vtok.train.samples.draws import generator as draws_at
from vtok.train.samples.pictures import Pictures


class TitokStage1Config(StringConfig):
    """Settings of the training. With `prefix = "full"` the tokenizer is a TiTok, otherwise a One-D-Piece.

    Args:
        proxy: weights of the MaskGIT-VQGAN, by name or folder; "random": none but those drawn from the seed, for checks.
        random_proxy: sizes of a random one.
        model: sizes.
        vq: how the codes are learned.
    """

    proxy: str = "maskgit_vqgan.imagenet"
    random_proxy: MaskgitVqganConfig = MaskgitVqganConfig()
    model: PixelTitokConfig
    vq: CodebookTrainingConfig = CodebookTrainingConfig()

    @property
    def family(self) -> type[Titok]:
        return ProxyTitok if isinstance(self.prefix, Full) else ProxyOneDPiece


class TitokStage1Objective(StringObjective):
    """Cross entropy of the proxy codes, and the quantizer's losses over all tokens whatever is decoded.

    Raises:
        ConfigError: cells that are not those of the proxy.
        WeightsError: a MaskGIT-VQGAN that is not at hand.
    """

    Config = TitokStage1Config
    config: TitokStage1Config
    model: Titok

    def __init__(self, config: TitokStage1Config):
        super().__init__()
        self.config = config
        self.proxy = FrozenNetwork(_proxy(config))
        if self.proxy.network.config.downsample != config.model.decoder.patch_size:
            cells = f"{self.proxy.network.config.downsample} pixels a side, the decoder's patches {config.model.decoder.patch_size}"
            raise ConfigError(f"[titok_stage1]: the proxy's cells have {cells}; make them equal")

    def prepare(self, pictures: Pictures, generator: torch.Generator) -> Titok:
        proxy = self.proxy.network
        model: Titok = super().prepare(pictures, generator)
        model.decoder.pixel_decoder.load_state_dict(proxy.decoder.state_dict())
        model.decoder.pixel_quantizer.load_state_dict(proxy.quantizer.state_dict())
        return model

    def make(self) -> Titok:
        proxy = self.proxy.network.config
        pixels = MaskgitConfig(**{name: getattr(proxy, name) for name in MaskgitConfig.model_fields})
        return self.config.family(TitokConfig(**dict(self.config.model), pixels=pixels))

    def begin(self, tokenizer: Pretrained, seed: int) -> None:
        self.model = model = cast(Titok, tokenizer)
        self.begin_with(model, seed, [model.encoder, model.quantizer, model.decoder.trunk, model.decoder.head])
        self.vq = CodebookSteps(model.quantizer, self.config.vq)

    def losses(self, batch: Batch) -> Losses:
        model = self.model
        wanted = self._proxy_ids(batch.images)
        latents = model.latents(batch.images)
        quantized = model.quantize(latents)
        logits = [model.decoder.logits(quantized.vectors, own) for own in self.lengths(batch, model.spec)]
        named = torch.stack([proxy_code_loss(own, wanted).mean() for own in logits]).sum()
        return {"network": {"proxy_codes": named, **self.vq.losses(latents, quantized)}}

    @torch.no_grad()
    def _proxy_ids(self, images: Tensor) -> Tensor:
        """(B, L) ids of the frozen tokenizer, in float32 whatever the network's type."""
        with torch.autocast(images.device.type, enabled=False):
            return self.proxy.network.quantize(self.proxy.network.latents(images.float())).ids[..., 0]

    @torch.no_grad()
    def after_step(self, step: int, ema: Pretrained) -> None:
        self.vq.after_step(self.model.quantizer, cast(Titok, ema).quantizer, draws_at(self.seed, step, REVIVAL))


def _proxy(config: TitokStage1Config) -> MaskgitVqgan:
    if config.proxy != RANDOM:
        return cast(MaskgitVqgan, loaded(config.proxy, (MaskgitVqgan,), "titok_stage1.proxy, the frozen MaskGIT-VQGAN"))
    return drawn(lambda: MaskgitVqgan(config.random_proxy), 0)
