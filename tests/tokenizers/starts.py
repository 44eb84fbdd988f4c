"""What small `nested` tokenizers are made from."""

import torch
from torch import nn

import vtok
from vtok.models.autoencoders.registry import Taef2Config
from vtok.models.quantizers.config import GroupedConfig
from vtok.models.quantizers.grouped import GroupedQuantizer
from vtok.tokenizers.linear import LinearConfig, LinearTokenizer
from vtok.tokenizers.nested import NestedTokenizer
from vtok.train.frozen import frozen_autoencoder


def linear_on_taef2() -> LinearTokenizer:
    """Tiles of 16 pixels, 2 x 2 cells of a taef2 with random weights; 3 tokens of 8 codes, seeded."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        made = LinearTokenizer(LinearConfig(autoencoder=Taef2Config(), tile_size=16, num_components=6, codebook_size=8, widths=(1, 2, 3)))
        basis = torch.linalg.qr(torch.randn(128, 6)).Q
        made.fill(torch.randn(128) * 0.01, basis.T, basis)
        made.quantizer.components = torch.tensor([3, 0, 1, 5, 2, 4], dtype=torch.int16)
        made.quantizer.fill([torch.randn(8, width) * 0.05 for width in (1, 2, 3)])
    return made.eval().requires_grad_(False)


def linear_in_photo64() -> LinearTokenizer:
    """A coder of full size for photographs: bases and tables of the default weights, taef2 as it was published."""
    model = vtok.load("photo64")
    assert isinstance(model, NestedTokenizer)
    assert model.linear is not None
    sizes, tables = model.config.quantizer, model.quantizer
    assert isinstance(sizes, GroupedConfig)
    assert isinstance(tables, GroupedQuantizer)
    config, autoencoder = frozen_autoencoder("taef2", "", 64)
    made = LinearTokenizer(
        LinearConfig(autoencoder=config, tile_size=64, num_components=sizes.dim, codebook_size=sizes.codebook_size, widths=sizes.widths)
    )
    made.autoencoder.load_state_dict(autoencoder.state_dict())
    made.fill(model.linear.mean, model.linear.analysis, model.linear.synthesis)
    made.quantizer.components = tables.components
    made.quantizer.fill([table for _, table in tables.positions()])
    made.after_load()
    return made.eval().requires_grad_(False)


def awake(model: NestedTokenizer) -> NestedTokenizer:
    """The model with all that a start leaves at zero drawn at random."""
    with torch.random.fork_rng([]):
        torch.manual_seed(1)
        for parameter in (model.encoder.head, model.decoder.head.weight, model.decoder.length_in.octaves):
            nn.init.normal_(parameter, std=0.1)
        if model.fill is not None:
            nn.init.normal_(model.fill)
    return model.eval()
