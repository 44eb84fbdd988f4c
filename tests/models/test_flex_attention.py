"""The compiled attention of FlexTok's encoder is the plain one."""

import pytest
import torch

from vtok.models.flex_attention import compiled_patches_then_registers
from vtok.models.gated_transformer import patches_then_registers
from vtok.tokenizers.flextok import FlextokTokenizer


@pytest.fixture
def _compiler() -> None:
    """A C++ compiler for `torch.compile`."""
    try:
        torch.compile(lambda x: x * 2)(torch.ones(3))
    except RuntimeError as error:  # all that a compiler raises is one
        pytest.skip(f"nothing can be compiled here: {error}")


@torch.no_grad()
@pytest.mark.usefixtures("_compiler")
@pytest.mark.parametrize("num_asking", [40, 8], ids=["all tokens ask", "some registers ask"])
def test_it_gives_what_the_plain_attention_gives(num_asking: int) -> None:
    num_patches, num_tokens = 16, 40
    q, k, v = torch.randn(3, 2, 3, num_tokens, 16, generator=torch.Generator().manual_seed(0)).unbind()
    own = q[:, :, -num_asking:]
    found = compiled_patches_then_registers(num_patches)(own, k, v, 0.3)
    torch.testing.assert_close(found, patches_then_registers(num_patches)(own, k, v, 0.3), rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.usefixtures("_compiler")
def test_a_tokenizer_that_uses_it_gives_the_same_tokens() -> None:
    tokenizer = FlextokTokenizer.tiny()
    height, width = tokenizer.spec.input_size
    images = torch.rand(3, 3, height, width, generator=torch.Generator().manual_seed(0))
    before = tokenizer.latents(images), tokenizer.encode(images).ids
    tokenizer.use_flex_attention()
    torch.testing.assert_close(tokenizer.latents(images), before[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(tokenizer.encode(images).ids, before[1])
