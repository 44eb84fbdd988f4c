"""Classes of vector-quantize-pytorch under the contract, and the library as a second opinion on our own."""

import builtins
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from vtok.errors import ConfigError, MissingExtraError
from vtok.models.quantizers.entropy import EntropyConfig
from vtok.models.quantizers.fsq import FiniteScalarQuantizer, SymmetricScalarQuantizer
from vtok.models.quantizers.lfq import LookupFreeQuantizer
from vtok.models.quantizers.library import OFFERED, REFUSED, LibraryQuantizer

library = pytest.importorskip("vector_quantize_pytorch", reason='needs the extra `train`: pip install "vtok[train]"')

MADE: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "BinaryMapper": (6, {}),
    "FSP": (3, {"levels": (4, 5, 7)}),
    "LatentQuantize": (3, {"levels": (4, 7, 15)}),
    "ResidualFSQ": (5, {"levels": (4, 5, 2), "num_quantizers": 3}),
}


@pytest.fixture(params=MADE)
def quantizer(request: pytest.FixtureRequest) -> LibraryQuantizer:
    dim, options = MADE[request.param]
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return LibraryQuantizer(request.param, dim, **options).eval()


def latents(quantizer: LibraryQuantizer, size: float = 1.0) -> Tensor:
    return size * torch.randn(6, 5, quantizer.dim, generator=torch.Generator().manual_seed(1))


def test_every_class_offered_is_tested():
    assert sorted(MADE) == sorted(OFFERED)


@pytest.mark.parametrize("size", [0.0, 0.3, 1.0, 1e4])
def test_ids_look_up_to_the_vectors(quantizer, size):
    z = latents(quantizer, size)
    quantized = quantizer(z)
    assert quantized.ids.dtype == torch.int64
    assert quantized.ids.shape == (6, 5, len(quantizer.codebook_sizes))
    assert bool(((quantized.ids >= 0) & (quantized.ids < torch.tensor(quantizer.codebook_sizes))).all())
    assert torch.equal(quantizer.lookup(quantized.ids), quantized.vectors)
    assert quantized.vectors.shape == z.shape


def test_eval_mode_draws_nothing_and_changes_nothing(quantizer):
    z, drawn = latents(quantizer), torch.get_rng_state()
    state = {name: value.clone() for name, value in quantizer.state_dict().items()}
    first, second = quantizer(z), quantizer(z)
    assert torch.equal(first.ids, second.ids)
    assert first.losses == {}
    assert torch.equal(drawn, torch.get_rng_state())
    assert all(torch.equal(state[name], value) for name, value in quantizer.state_dict().items())


def test_ids_depend_neither_on_the_batch_nor_on_the_precision_asked_for(quantizer):
    z = latents(quantizer).bfloat16()
    ids = quantizer(z.float()).ids
    assert torch.equal(torch.cat([quantizer(part).ids for part in z.split(4)]), ids)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(quantizer(z).ids, ids)


@pytest.mark.parametrize("training", [False, True])
def test_gradients_pass_to_the_latents(quantizer, training):
    z = latents(quantizer).requires_grad_()
    quantizer.train(training)(z).vectors.square().sum().backward()
    assert bool(z.grad.isfinite().all())
    assert bool(z.grad.any())


@pytest.mark.parametrize("size", [0.0, 1.0, 1e4])
def test_losses_of_training_are_finite_and_have_a_weight(quantizer, size):
    losses = quantizer.train()(latents(quantizer, size)).losses
    assert all(bool(value.isfinite()) and value.shape == () for value in losses.values())
    assert set(losses) <= set(quantizer.loss_weights)


def test_training_draws_latents_to_their_values():
    quantizer = LibraryQuantizer("LatentQuantize", 3, levels=(4, 7, 15))
    z = latents(quantizer).requires_grad_()
    quantized = quantizer(z)
    quantized.losses["commitment"].backward()
    torch.testing.assert_close(z.grad, 2 * (z - quantized.vectors) / z.numel())


@pytest.mark.filterwarnings("ignore:var_mean")
def test_one_latent_alone_has_finite_losses():
    quantized = LibraryQuantizer("FSP", 2, levels=(4, 5))(torch.ones(1, 1, 2))
    assert all(bool(value.isfinite()) for value in quantized.losses.values())


def test_positions_beyond_a_length_are_zero(quantizer):
    ids = quantizer(latents(quantizer)).ids[:2]
    vectors = quantizer.lookup(ids, torch.tensor([1, 5]))
    assert not bool(vectors[0, 1:].any())
    assert torch.equal(vectors[1], quantizer.lookup(ids)[1])


@pytest.mark.parametrize("name", [*REFUSED, "os"])
def test_a_class_that_fails_the_contract_is_refused_in_one_line(name):
    with pytest.raises(ConfigError, match=name) as caught:
        LibraryQuantizer(name, 4)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ResidualFSQ", {"levels": (4, 4), "quantize_dropout": True}, "takes levels, num_quantizers here, not quantize_dropout"),
        ("ResidualFSQ", {}, "needs levels"),
        ("ResidualFSQ", {"levels": 4}, "'int' object"),
        ("ResidualFSQ", {"levels": (4, 1)}, "at least 2 levels"),
        ("ResidualFSQ", {"levels": (256, 2), "num_quantizers": 3}, "num_quantizers 3"),
        ("LatentQuantize", {"levels": (4, 4, 4)}, "each of 2 components"),
        ("FSP", {"levels": (4, 4), "act_name": "sine"}, "sine"),
        ("FSP", {"levels": (2**10, 2**10)}, "65,536 codes"),
        ("BinaryMapper", {"bits": 3}, "not bits"),
    ],
)
def test_an_option_that_is_not_offered_is_refused(name, options, message):
    with pytest.raises(ConfigError, match=message):
        LibraryQuantizer(name, 2, **options)


def test_a_class_that_the_installed_release_lacks_is_refused(monkeypatch):
    monkeypatch.delattr(library, "FSP")
    with pytest.raises(ConfigError, match="has no FSP: install a newer one"):
        LibraryQuantizer("FSP", 2, levels=(4, 5))


def test_a_missing_library_is_named_with_its_install_line(monkeypatch):
    found = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "vector_quantize_pytorch":
            raise ImportError(name)
        return found(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r'pip install "vtok\[train\]"'):
        LibraryQuantizer.tiny()


@given(st.lists(st.integers(3, 9), min_size=1, max_size=4), st.integers(0, 99))
def test_fsq_is_the_librarys(levels, seed):
    z = 2 * torch.randn(2, 7, len(levels), generator=torch.Generator().manual_seed(seed))
    for own, other in [
        (FiniteScalarQuantizer(levels), library.FSQ(levels)),
        (SymmetricScalarQuantizer(levels), library.FSQ(levels, preserve_symmetry=True)),
    ]:
        vectors, ids = other(z)
        quantized = own(z)
        assert torch.equal(quantized.ids[..., 0], ids.long())
        torch.testing.assert_close(quantized.vectors, vectors)


def test_lfq_is_the_librarys_with_the_first_bit_most_significant():
    z = torch.randn(2, 7, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    other = library.LFQ(dim=6, commitment_loss_weight=0.25)
    (vectors, ids, _), parts = other(z, inv_temperature=1.0, return_loss_breakdown=True)
    quantizer = LookupFreeQuantizer(6, first_bit="most", entropy=EntropyConfig(temperature=1.0))
    quantized = quantizer(z)
    assert torch.equal(quantized.ids[..., 0], ids.long())
    torch.testing.assert_close(quantized.vectors, vectors)
    torch.testing.assert_close(quantized.losses["commitment"], parts.commitment)
    entropy = parts.per_sample_entropy - parts.batch_entropy
    torch.testing.assert_close(quantized.losses["entropy"], entropy, rtol=1e-3, atol=1e-3)  # it cuts probabilities off at 1e-5
