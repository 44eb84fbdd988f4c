"""The straightforward generator of the benchmark is the one that ours is held against."""

import torch
from torch import nn

from benchmarks.gpt_speed import weight_gb
from benchmarks.plain_gpt import PlainGpt
from vtok.generate.autoregressive import Sampling, sample
from vtok.generate.sampling.choose import GREEDY
from vtok.generate.sampling.guidance import Guidance
from vtok.models.causal_transformer import CausalConfig
from vtok.models.conditions import ClassConfig
from vtok.models.gpt import Gpt, GptConfig


def test_both_draw_the_same_greedy_ids():
    torch.manual_seed(0)
    trunk = CausalConfig(dim=32, depth=2, heads=2, hidden=48)
    model = Gpt(GptConfig(trunk=trunk, codebook_sizes=(50,), shape=(3, 3), condition=ClassConfig(num_classes=5))).eval()
    nn.init.normal_(model.head.outs[0].weight)
    plain, classes = PlainGpt(model), torch.tensor([0, 4, 2])
    for scale in (1.0, 3.0):
        ids, _ = sample(model, 3, classes, sampling=Sampling(GREEDY, Guidance(scale)))
        assert torch.equal(plain.generate(classes, scale, greedy=True), ids[..., 0])
    assert weight_gb(model) * 1e9 == 4 * sum(part.weight.numel() for part in model.modules() if isinstance(part, nn.Linear))
