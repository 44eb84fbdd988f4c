"""Index backpropagation: published values, gradients to every code, bounded memory."""

import subprocess
import sys

import pytest
import torch
from einops import rearrange
from torch import Tensor
from torch.nn.functional import one_hot

from tests.parity import Stored
from vtok.models.quantizers.entropy import EntropyConfig
from vtok.models.quantizers.ibq import IndexBackpropagationQuantizer


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parity
def test_values_are_those_of_the_published_implementation():
    stored = Stored.load("ibq")
    sizes = stored.config["sizes"]

    def made(sample: float, batch: float) -> IndexBackpropagationQuantizer:
        config = EntropyConfig(temperature=sizes["entropy_temperature"], sample_weight=sample, batch_weight=batch)
        quantizer = IndexBackpropagationQuantizer(sizes["dim"], sizes["codebook_size"], entropy=config)
        quantizer.fill(stored.weights["embedding.weight"])
        return quantizer

    quantizer = made(sizes["sample_minimization_weight"], sizes["batch_maximization_weight"])
    images = stored.inputs["z"].requires_grad_()
    z = rearrange(images, "b d h w -> b (h w) d")
    quantized = quantizer(z)
    vectors = rearrange(quantized.vectors, "b (h w) d -> b d h w", h=sizes["height"])
    loss = quantized.losses["commitment"] + sizes["beta"] * quantized.losses["codebook"]
    total = loss + 0.05 * quantized.losses["entropy"] + (vectors * stored.inputs["probe"]).sum() / 100
    total.backward()
    stored.check("ids", quantized.ids.flatten())
    stored.check("quant", vectors)
    stored.check("quant_loss", loss)
    stored.check("no_entropy/loss", loss)
    stored.check("sample_entropy", made(1, 0)(z).losses["entropy"])
    stored.check("avg_entropy", -made(0, 1)(z).losses["entropy"])
    stored.check("entropy_loss", quantized.losses["entropy"])
    stored.check("total", total)
    stored.check_gradients("grad/", {"z": images.grad, "embedding.weight": quantizer.codes.grad[0]})
    stored.check("decode", rearrange(quantizer.lookup(quantized.ids), "b (h w) d -> b d h w", h=sizes["height"]))
    assert not stored.unchecked()


@pytest.mark.parametrize("numbers_at_once", [2**22, 7 * 16, 1], ids=["one-block", "rows-by-seven", "row-by-row"])
def test_gradients_are_those_of_the_plain_form(numbers_at_once, monkeypatch):
    monkeypatch.setattr("vtok.models.quantizers.choices.NUMBERS_AT_ONCE", numbers_at_once)
    quantizer, z, probe = IndexBackpropagationQuantizer.tiny(), randn(3, 10, 8).requires_grad_(), randn(3, 10, 8, seed=1)
    quantized = quantizer(z)
    soft = (z @ quantizer.codes[0].T).softmax(-1)
    expected = (one_hot(quantized.ids[..., 0], 16) - soft.detach() + soft) @ quantizer.codes[0]
    torch.testing.assert_close(quantized.vectors, expected)
    inputs = [z, quantizer.codes]
    found = torch.autograd.grad((quantized.vectors * probe).sum(), inputs)
    for own, other in zip(found, torch.autograd.grad((expected * probe).sum(), inputs), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-4, atol=1e-6)


def test_the_largest_dot_product_is_found():
    quantizer = IndexBackpropagationQuantizer(6, 300)
    quantizer.fill(randn(300, 6))
    z = randn(70, 5, 6, seed=1)
    assert torch.equal(quantizer(z).ids[..., 0], (z.double() @ quantizer.codes[0].double().T).argmax(2))


def test_every_code_learns():
    quantizer = IndexBackpropagationQuantizer.tiny()
    quantizer(randn(1, 2, 8)).vectors.square().sum().backward()
    assert bool(quantizer.codes.grad[0].any(1).all())


def test_eval_mode_has_no_entropy():
    assert sorted(IndexBackpropagationQuantizer.tiny().eval()(randn(1, 4, 8)).losses) == ["codebook", "commitment"]


def test_memory_is_bounded_where_codes_are_many():
    code = (
        "import resource, torch\n"
        "from vtok.models.quantizers.ibq import IndexBackpropagationQuantizer\n"
        "torch.set_num_threads(1)\n"
        "def train(rows, codes):\n"
        "    quantizer = IndexBackpropagationQuantizer(8, codes)\n"
        "    quantized = quantizer(torch.randn(1, rows, 8, requires_grad=True))\n"
        "    (quantized.vectors.sum() + sum(quantized.losses.values())).backward()\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024\n"
        "before = train(8, 64)\n"
        "print(train(512, 2**18) - before)\n"
    )
    grown = int(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
    assert grown < 200e6  # the choices of all rows among all codes are 537 MB, the plain form holds several times that
