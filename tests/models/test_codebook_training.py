"""Learning codes: running means, revival, and what belongs to the model."""

import pytest
import torch

from vtok.models.quantizers.codebook_ema import CodebookEma
from vtok.models.quantizers.codebook_training import CodebookTraining, CodebookTrainingConfig
from vtok.models.quantizers.dead_codes import DeadCodes, RevivalConfig
from vtok.models.quantizers.vq import SphericalVectorQuantizer, VectorQuantizer

both_kinds = pytest.mark.parametrize("kind", [VectorQuantizer, SphericalVectorQuantizer])
tables = pytest.mark.parametrize("num_tables", [1, 4])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=seeded(seed))


def quantizer_with_far_codes(kind: type[VectorQuantizer], num_tables: int) -> VectorQuantizer:
    """Half of the codes where latents are, half where none can reach."""
    quantizer = kind(8, 16, num_tables=num_tables)
    codes = randn(num_tables, 16, 8)
    codes[..., 0] = 100
    codes[:, 8:] *= -1
    quantizer.fill(codes)
    return quantizer


def latents(count: int, seed: int) -> torch.Tensor:
    z = randn(count, 4, 8, seed=seed)
    z[..., 0] = 3.0
    return z


def trained(kind: type[VectorQuantizer], num_tables: int, config: CodebookTrainingConfig, steps: int = 60) -> VectorQuantizer:
    quantizer = quantizer_with_far_codes(kind, num_tables)
    training = CodebookTraining(quantizer, config)
    for step in range(steps):
        z = latents(40, step)
        training.update(quantizer, z, quantizer(z).ids, seeded(step))
    return quantizer


def used(quantizer: VectorQuantizer) -> int:
    """Codes in use, over all tables."""
    ids = quantizer(latents(400, 1000)).ids[..., 0]
    return sum(len(column.unique()) for column in (ids.T if quantizer.num_tables > 1 else [ids]))


@both_kinds
@tables
@pytest.mark.parametrize("learning", ["gradient", "ema"])
def test_dead_codes_come_to_use(kind, num_tables, learning):
    quantizer = trained(kind, num_tables, CodebookTrainingConfig(learning=learning))
    assert used(quantizer) == 16 * num_tables


@both_kinds
def test_without_revival_dead_codes_stay_dead(kind):
    config = CodebookTrainingConfig(learning="ema", revival=RevivalConfig(threshold=0))
    assert used(trained(kind, 1, config)) <= 8


@tables
def test_a_code_is_replaced_by_a_latent_of_its_table(num_tables):
    quantizer = quantizer_with_far_codes(VectorQuantizer, num_tables)
    before = quantizer.codes.detach().clone()
    dead_codes = DeadCodes(quantizer, RevivalConfig())
    z = latents(400, 0)
    while not bool((replaced := dead_codes.revive(quantizer, z, quantizer(z).ids, seeded())).any()):
        pass
    points = z.flatten(0, 1)[None] if num_tables == 1 else z.transpose(0, 1)
    for table, row in replaced.nonzero().tolist():
        assert bool((points[table] == quantizer.codes[table, row]).all(1).any())
    assert torch.equal(quantizer.codes[~replaced], before[~replaced])
    assert bool(replaced[:, 8:].all())


def test_replaced_codes_differ_from_each_other():
    quantizer = quantizer_with_far_codes(VectorQuantizer, 1)
    training = CodebookTraining(quantizer, CodebookTrainingConfig())
    for step in range(60):
        training.update(quantizer, latents(40, step), quantizer(latents(40, step)).ids, seeded(step))
    assert len(quantizer.codes[0].unique(dim=0)) == 16


def test_more_dead_codes_than_latents_wait_their_turn():
    quantizer = quantizer_with_far_codes(VectorQuantizer, 1)
    dead_codes = DeadCodes(quantizer, RevivalConfig())
    dead_codes.usage.zero_()
    z = latents(1, 0)[:, :3]
    assert int(dead_codes.revive(quantizer, z, quantizer(z).ids, seeded()).sum()) == 3


@pytest.mark.parametrize("batch", [1, 25, 100])
def test_usage_depends_on_how_many_latents_came_and_hardly_on_how_they_were_dealt(batch):
    """Running means over the same latents in the same proportions, however many come at once."""
    quantizer = quantizer_with_far_codes(VectorQuantizer, 1)
    dead_codes = DeadCodes(quantizer, RevivalConfig(window=2, threshold=0))
    ids = torch.arange(8).repeat(200)[:, None, None]  # half of the codes, evenly
    for part in ids.split(batch * 8):
        dead_codes.revive(quantizer, torch.zeros(len(part), 1, 8), part, seeded())
    expected = torch.exp(torch.tensor(-1600 / 32))
    torch.testing.assert_close(dead_codes.usage[0, 8:], expected.expand(8), rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(dead_codes.usage[0, :8], torch.full((8,), 2.0), rtol=1e-3, atol=0)


@both_kinds
@tables
@pytest.mark.parametrize("learning", ["gradient", "ema", "clustering"])
def test_equal_latents_and_generators_give_equal_codes(kind, num_tables, learning):
    first, second = (trained(kind, num_tables, CodebookTrainingConfig(learning=learning), steps=20) for _ in range(2))
    assert torch.equal(first.codes, second.codes)


def test_a_code_follows_its_latents_mean():
    quantizer = quantizer_with_far_codes(VectorQuantizer, 1)
    ema = CodebookEma(quantizer, 0.5)
    z = latents(200, 0)
    ids = quantizer(z).ids
    for _ in range(60):
        ema.update(quantizer, z, ids)
    for row in ids.unique():
        own = z[ids[..., 0] == row].mean(0)
        torch.testing.assert_close(quantizer.codes[0, row], own, rtol=1e-3, atol=1e-3)


def test_running_means_go_on_from_a_revived_code():
    quantizer = quantizer_with_far_codes(VectorQuantizer, 1)
    training = CodebookTraining(quantizer, CodebookTrainingConfig(learning="ema"))
    assert training.dead_codes is not None
    training.dead_codes.usage[0, 8:] = 0
    z = latents(40, 0)
    assert training.update(quantizer, z, quantizer(z).ids, seeded())[0].tolist() == [False] * 8 + [True] * 8
    revived = quantizer.codes[0, 8:].clone()
    z = latents(40, 1)
    training.update(quantizer, z, torch.zeros(40, 4, 1, dtype=torch.int64), seeded())  # none takes them
    torch.testing.assert_close(quantizer.codes[0, 8:], revived, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("learning", "own"),
    [("gradient", ["dead_codes.usage"]), ("ema", ["dead_codes.usage", "ema.counts", "ema.sums"]), ("clustering", ["clustering.usage"])],
)
def test_the_model_holds_its_codes_alone(learning, own):
    quantizer = VectorQuantizer.tiny()
    training = CodebookTraining(quantizer, CodebookTrainingConfig(learning=learning))
    assert list(quantizer.state_dict()) == ["codes"]
    assert sorted(training.state_dict()) == own


def test_clustering_moves_codes_that_the_averaged_copy_goes_on_averaging():
    quantizer = quantizer_with_far_codes(VectorQuantizer, 1)
    before, z = quantizer.codes.detach().clone(), latents(40, 0)
    training = CodebookTraining(quantizer, CodebookTrainingConfig(learning="clustering"))
    assert not bool(training.update(quantizer, z, quantizer(z).ids, seeded()).any())
    assert bool((quantizer.codes[:, 8:] != before[:, 8:]).all())


@pytest.mark.parametrize(("learning", "trained_by_gradients"), [("gradient", True), ("ema", False), ("clustering", True)])
def test_codes_take_gradients_unless_they_are_running_means(learning, trained_by_gradients):
    quantizer = VectorQuantizer.tiny()
    CodebookTraining(quantizer, CodebookTrainingConfig(learning=learning))
    assert quantizer.codes.requires_grad == trained_by_gradients


def test_a_resumed_training_goes_on_as_if_unbroken():
    whole = trained(VectorQuantizer, 1, CodebookTrainingConfig(learning="ema"), steps=20)
    first = quantizer_with_far_codes(VectorQuantizer, 1)
    config = CodebookTrainingConfig(learning="ema")
    training = CodebookTraining(first, config)
    for step in range(20):
        if step == 10:
            first_state, state = first.state_dict(), training.state_dict()
            first = VectorQuantizer(8, 16)
            first.load_state_dict(first_state)
            training = CodebookTraining(first, config)
            training.load_state_dict(state)
        z = latents(40, step)
        training.update(first, z, first(z).ids, seeded(step))
    assert torch.equal(first.codes, whole.codes)
