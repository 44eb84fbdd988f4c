"""The recipes that are shipped."""

from importlib import import_module

import pytest
from pydantic import BaseModel

from vtok.generate.objectives import TABLE as GENERATORS
from vtok.generate.objectives.gpt import GptObjectiveConfig
from vtok.generate.objectives.maskgit import MaskgitObjectiveConfig
from vtok.generate.objectives.rar import RarObjectiveConfig
from vtok.generate.objectives.strings import GeneratorObjectiveConfig
from vtok.models.conv import ConvConfig
from vtok.models.discriminators import BlurPoolConfig, PatchConfig
from vtok.models.flow.times import ModeTimes
from vtok.models.quantizers.config import FsqConfig, build, scales_of
from vtok.models.quantizers.entropy import EntropyConfig
from vtok.models.quantizers.part_config import VqPart
from vtok.models.transformer import TransformerConfig
from vtok.recipes import head_comment, names, recipe_file
from vtok.tokenizers.prefix import Pow2
from vtok.tokenizers.tokenflow import TokenflowConfig
from vtok.tokenizers.vae import VaeConfig
from vtok.train import TABLE as TOKENIZERS
from vtok.train import load_config
from vtok.train.config import RunConfig, check
from vtok.train.objectives.by_pictures import PixelConfig
from vtok.train.objectives.flextok import FlextokObjectiveConfig
from vtok.train.objectives.fqgan import FqganObjectiveConfig
from vtok.train.objectives.linear import LinearObjectiveConfig
from vtok.train.objectives.llamagen_vq import LlamagenVqObjectiveConfig
from vtok.train.objectives.nested import NestedObjectiveConfig
from vtok.train.objectives.strings import StringConfig
from vtok.train.objectives.tatitok import TaTitokObjectiveConfig, TaTitokVaeObjectiveConfig
from vtok.train.objectives.titok_stage1 import TitokStage1Config
from vtok.train.objectives.titok_stage2 import TitokStage2Config
from vtok.train.objectives.tokenflow import TokenflowObjectiveConfig
from vtok.train.objectives.tokenflow_decoder import TokenflowDecoderConfig
from vtok.train.objectives.vq_pixels import VqPixelConfig
from vtok.weights.convert.official import OFFICIAL

TABLE = TOKENIZERS | GENERATORS


def section(config: RunConfig) -> BaseModel:
    """The objective's own settings, checked as when the run starts."""
    module, _, class_name = TABLE[config.objective].partition(":")
    settings: BaseModel = check(getattr(import_module(module), class_name).Config, config.settings(), f"[{config.objective}]")
    return settings


def strings(name: str) -> StringConfig:
    settings = section(load_config(name))
    assert isinstance(settings, StringConfig)
    return settings


def sizes(settings: StringConfig) -> tuple[int, int]:
    """Pixels of a side and tokens of a string."""
    if isinstance(settings, TokenflowDecoderConfig):
        pytest.skip("the start decides")
    if isinstance(settings, TitokStage2Config):
        if settings.random_start is None:
            pytest.skip("the start decides")
        model = settings.random_start.model
    else:
        model = settings.model  # type: ignore[attr-defined]
    if isinstance(model, ConvConfig):
        return model.image_size, (model.image_size // model.downsample) ** 2
    if isinstance(model, VaeConfig):
        return model.image_size, (model.image_size // model.settings.downsample) ** 2
    if isinstance(model, TokenflowConfig):
        return model.image_size, sum(rows * cols for rows, cols in scales_of(model.quantizer) or ())
    return model.image_size, model.num_tokens if hasattr(model, "num_tokens") else model.quantizer.num_latents


LINE = [name for name in names() if load_config(name).objective not in ("linear", "nested", *GENERATORS)]
every_recipe = pytest.mark.parametrize("name", names())
every_nested_recipe = pytest.mark.parametrize("name", [name for name in names() if load_config(name).objective == "nested"])
every_string_recipe = pytest.mark.parametrize("name", LINE)
RASTERS = ("fqgan-dual-vq16", "fqgan-triple-vq16", "llamagen-vq16")
TOKENFLOWS = ("tokenflow-clipb", "tokenflow-clipb-enhanced")
OTHERS = ("smoke", "vae", "flextok", *RASTERS, *TOKENFLOWS)  # whose sizes alone are published, or other trainings
PUBLISHED = [name for name in LINE if not name.startswith(OTHERS)]
every_published_recipe = pytest.mark.parametrize("name", PUBLISHED)
every_smoke_recipe = pytest.mark.parametrize("name", [name for name in names() if name.startswith("smoke")])


@every_recipe
def test_a_recipe_is_read_and_checked_by_its_name(name: str) -> None:
    config = load_config(name)
    assert isinstance(section(config), LinearObjectiveConfig | NestedObjectiveConfig | StringConfig | GeneratorObjectiveConfig)
    assert (config.data.kind == "tokens") == (config.objective in GENERATORS)
    assert (config.train.steps > 0) == (config.objective != "linear")


@every_nested_recipe
def test_a_recipe_trains_on_whole_tiles_and_measures_lengths_that_there_are(name: str) -> None:
    config = load_config(name)
    settings = section(config)
    assert isinstance(settings, NestedObjectiveConfig)
    assert config.data.crop_size % settings.linear.tile_size == 0
    if settings.quantizer is None:
        lengths = tuple(range(1, 1 + sum(stage.tokens for stage in settings.linear.stages)))
    else:
        lengths = build(settings.quantizer).prefix_lengths(settings.quantizer.num_latents)
    assert {0, *lengths} >= set(config.train.validation.lengths)
    assert config.train.validation.select == "psnr" or config.data.crop_size >= 31


@every_string_recipe
def test_a_recipe_trains_on_pictures_of_its_tokenizers_size_and_measures_lengths_that_there_are(name: str) -> None:
    config, settings = load_config(name), strings(name)
    side, num_tokens = sizes(settings)
    assert config.data.crop_size == side
    flow, scales = config.objective == "flextok", config.objective == "tokenflow"
    nested = flow or scales or name.removeprefix("smoke-").startswith("one-d-piece")
    assert max(config.train.validation.lengths) <= num_tokens
    assert (set(config.train.validation.lengths) == {0}) == (not nested)
    whole = scales or (config.objective == "titok_stage1" and not nested)
    assert settings.prefix.rule == ("pow2" if flow else "full" if whole else "tail_drop")


@every_string_recipe
def test_recipes_have_captions_where_the_decoder_reads_them(name: str) -> None:
    reads = isinstance(section(load_config(name)), TaTitokObjectiveConfig | TaTitokVaeObjectiveConfig)
    assert load_config(name).data.captions == reads


@every_string_recipe
def test_lpips_looks_through_the_published_network(name: str) -> None:
    settings = strings(name)
    if isinstance(settings, PixelConfig) and settings.pictures.lpips:
        assert settings.pictures.lpips_trunk == "vgg"


@every_published_recipe
def test_a_published_training_has_the_published_settings(name: str) -> None:
    config, settings = load_config(name), strings(name)
    network = settings.network
    first = isinstance(settings, TitokStage1Config)
    assert (network.learning_rate, network.final_share, network.weight_decay, network.clip) == (1e-4, 0.1, 1e-4, 1.0)
    assert network.betas == ((0.9, 0.99) if first else (0.9, 0.999))
    assert network.warmup_steps == (5_000 if isinstance(settings, TitokStage2Config) else 10_000)
    assert settings.decay_embeddings == name.startswith("one-d-piece")
    assert (config.train.ema, config.train.precision) == (0.999, "bf16")
    assert (config.data.crop_size, config.data.max_side, config.data.scales, config.data.flip) == (256, 256, (1.0, 1.0), True)
    steps = {"titok_stage1": 1_000_000, "titok_stage2": 500_000, "titok_pixel": 1_000_000, "titok_vae": 1_000_000}
    assert config.train.steps == steps.get(config.objective, 650_000)
    batches = {"one-d-piece-b256-stage1": 1024, "one-d-piece-b256-stage2": 512, "tatitok-bl64-vq": 1024, "tatitok-bl64-vae": 1024}
    assert config.train.batch_size == batches.get(name, 256)


@every_published_recipe
def test_a_published_training_has_the_published_losses(name: str) -> None:
    settings = strings(name)
    if "vq" in type(settings).model_fields:
        vq = settings.vq  # type: ignore[attr-defined]
        assert (vq.commitment, vq.codebook) == (0.25, 1.0)
        assert vq.learning == ("clustering" if name.startswith("tatitok") else "gradient")
        assert vq.learning == "clustering" or vq.revival.threshold == 0  # nothing was revived
    if not isinstance(settings, PixelConfig):
        return
    second, pictures, adversary = isinstance(settings, TitokStage2Config), settings.pictures, settings.adversary
    assert pictures.logits is not None
    assert adversary is not None
    assert (pictures.l2, pictures.lpips, pictures.logits.weight) == (1.0, 0.0 if second else 1.0, 0.1)
    assert (adversary.weight, adversary.first_step, adversary.warmup_steps) == ((0.01, 20_000, 0) if second else (0.1, 200_000, 0))
    assert (adversary.loss, adversary.lecam, adversary.lecam_decay) == ("hinge", 0.001, 0.999)
    assert adversary.discriminator == BlurPoolConfig()
    own, network = adversary.optimizer.model_dump(), settings.network.model_dump()
    assert own == network  # the discriminator learns at the rates of the network
    assert getattr(settings, "kl", 1e-6) == 1e-6


@pytest.mark.parametrize("name", RASTERS)
def test_a_published_raster_has_the_published_settings(name: str) -> None:
    config, settings = load_config(name), strings(name)
    assert isinstance(settings, VqPixelConfig)
    assert (config.train.precision, config.train.ema, config.data.crop_size) == ("bf16", 0, 256)
    network, adversary = settings.network, settings.adversary
    assert adversary is not None
    assert network.learning_rate == (2e-4 if name.startswith("fqgan") else 1e-4)
    assert (network.final_share, network.warmup_steps, network.clip) == (1.0, 0, 1.0)
    assert (network.betas, network.weight_decay) == ((0.9, 0.95), 0)
    assert adversary.optimizer.model_dump() == network.model_dump()
    assert (adversary.weight, adversary.first_step, adversary.warmup_steps, adversary.loss, adversary.lecam) == (0.5, 20_000, 0, "hinge", 0)
    assert adversary.discriminator == PatchConfig(dim=64, depth=3, norm="batch")
    assert (settings.pictures.l2, settings.pictures.lpips, settings.pictures.lpips_trunk) == (4.0, 1.0, "vgg")
    assert (settings.vq.commitment, settings.vq.codebook, settings.vq.revival.threshold) == (0.25, 1.0, 0)


@pytest.mark.parametrize("name", TOKENFLOWS)
def test_a_published_tokenflow_has_the_published_settings(name: str) -> None:
    config, settings = load_config(name), strings(name)
    assert isinstance(settings, TokenflowObjectiveConfig | TokenflowDecoderConfig)
    data, train = config.data, config.train
    assert (data.crop_size, data.max_side, data.scales, data.flip) == (224, 280, (1.0, 1.25), True)
    assert (train.precision, train.ema, train.batch_size, train.steps) == ("bf16", 0, 512, 250_000)  # 100 epochs of ImageNet
    network, adversary = settings.network, settings.adversary
    assert adversary is not None
    assert (network.learning_rate, network.final_share, network.warmup_steps, network.clip) == (1e-4, 1.0, 0, 1.0)
    assert (network.betas, network.weight_decay) == ((0.9, 0.95), 0)
    assert adversary.optimizer.model_dump() == network.model_dump()
    assert (adversary.weight, adversary.first_step, adversary.warmup_steps, adversary.loss, adversary.lecam) == (0.5, 20_000, 0, "hinge", 0)
    assert adversary.discriminator == PatchConfig(dim=64, depth=3, norm="batch")
    assert (settings.pictures.l2, settings.pictures.lpips) == (4.0, 1.0)
    assert settings.skip == 0.1
    if isinstance(settings, TokenflowDecoderConfig):
        assert OFFICIAL["TokenFlow CLIP-B enhanced"][1].model_dump()["decoder"] == settings.decoder.model_dump()  # type: ignore[union-attr]
        return
    assert OFFICIAL["TokenFlow CLIP-B"][1] == settings.model
    assert (settings.start, settings.semantics.teacher, settings.semantics.weight) == ("teacher", "openai/clip-vit-base-patch16", 1.0)
    assert (settings.vq.commitment, settings.vq.codebook, settings.vq.revival.threshold) == (0.25, 1.0, 0)


def test_published_fqgans_have_the_published_branches_and_teachers() -> None:
    for name, teachers in (
        ("fqgan-dual-vq16", {"sem": "openai/clip-vit-large-patch14"}),
        ("fqgan-triple-vq16", {"sem_mid": "facebook/dinov2-small", "sem_high": "openai/clip-vit-base-patch16"}),
    ):
        config, settings = load_config(name), strings(name)
        assert isinstance(settings, FqganObjectiveConfig)
        assert (config.train.steps, config.train.batch_size) == (200_000, 256)
        assert [branch.name for branch in settings.model.branches] == ["vis", *teachers]
        assert {own.branch: own.teacher for own in settings.representation} == teachers
        assert all((own.weight, own.depth, own.heads) == (0.5, 3, 8) for own in settings.representation)
        assert (settings.vq.entropy, settings.vq.disentanglement) == (0.03, 0.1)
        assert {branch.quantizer for branch in settings.model.branches} == {
            VqPart(kind="spherical_vq", dim=8, codebook_size=16384, entropy=EntropyConfig(temperature=0.01))
        }


@pytest.mark.parametrize(("name", "encoder", "decoder"), [("d12-d12", 12, 12), ("d18-d18", 18, 18), ("d18-d28", 18, 28)])
def test_a_published_flextok_has_the_published_settings(name: str, encoder: int, decoder: int) -> None:
    settings = strings(f"flextok-{name}")
    assert isinstance(settings, FlextokObjectiveConfig)
    depths = {"encoder": encoder, "decoder": decoder}
    for part, depth in depths.items():
        assert getattr(settings.model, part) == TransformerConfig(dim=64 * depth, depth=depth, heads=depth)
    assert settings.model.quantizer == FsqConfig(num_tokens=256, levels=(8, 8, 8, 5, 5, 5))
    assert (settings.times, settings.null_share, settings.prefix) == (ModeTimes(scale=0.25), 0.2, Pow2())
    assert settings.representation is not None
    assert (settings.representation.layer, settings.representation.weight) == (1, 1.0)


@every_recipe
def test_the_head_of_a_recipe_says_what_it_costs_and_how_it_is_run(name: str) -> None:
    lines = head_comment(recipe_file(name))
    assert [line.split(":")[0] for line in lines if line.split(":")[0] in ("Data", "Cost", "Expect")] == ["Data", "Cost", "Expect"]
    assert any(line.startswith(f"vtok train {name} ") for line in lines)


@every_smoke_recipe
def test_a_smoke_recipe_needs_neither_data_nor_weights(name: str) -> None:
    config = load_config(name)
    settings = section(config)
    assert config.data.kind == "synthetic"
    match settings:
        case NestedObjectiveConfig():
            assert (settings.pictures.lpips, settings.pictures.features, settings.start) == (0, (), "linear")
            assert (settings.linear.autoencoder, settings.linear.metric.lpips) == ("pixels", 0)
            teacher = None if settings.semantics is None else settings.semantics.teacher
            assert teacher is None or (teacher.kind == "timm" and not teacher.pretrained)
        case LinearObjectiveConfig():
            assert (settings.autoencoder, settings.metric.lpips) == ("pixels", 0)
        case TitokStage1Config():
            assert settings.proxy == "random"
        case FlextokObjectiveConfig():
            assert (settings.start, settings.autoencoder, settings.representation) == ("random", "none", None)
        case PixelConfig():
            assert (settings.pictures.lpips, settings.pictures.logits, settings.pictures.features) == (0, None, ())
            assert getattr(settings, "start", "random") == getattr(settings, "text", "random") == "random"
        case _:
            pytest.fail(f"{type(settings).__name__} is of no kind known here")


@every_smoke_recipe
def test_a_smoke_recipe_of_the_line_has_all_parts_of_the_training_that_it_stands_for(name: str) -> None:
    settings = section(load_config(name))
    if isinstance(settings, PixelConfig):
        assert settings.adversary is not None
        assert settings.adversary.lecam or isinstance(settings, FqganObjectiveConfig | LlamagenVqObjectiveConfig | TokenflowObjectiveConfig)
        assert settings.adversary.first_step < load_config(name).train.steps


@pytest.mark.parametrize("name", ["maskgit-titok-l32", "maskgit-titok-b64", "maskgit-titok-s128", "maskgit-one-d-piece-b256"])
def test_a_published_masked_generator_has_the_published_settings(name: str) -> None:
    config = load_config(name)
    settings = section(config)
    assert isinstance(settings, MaskgitObjectiveConfig)
    assert (config.train.steps, config.train.batch_size, config.train.ema, config.train.precision) == (500_000, 2048, 0.999, "bf16")
    own = settings.optimizer
    assert (own.learning_rate, own.final_share, own.warmup_steps) == (2e-4, 0.05, 10_000)
    assert (own.betas, own.weight_decay, own.clip) == ((0.9, 0.96), 0.03, 1.0)
    assert (settings.num_classes, settings.drop_class) == (1000, 0.1)
    uvit = name == "maskgit-titok-s128"
    network = settings.network
    assert (network.kind, network.dim, network.depth, network.heads) == (("uvit", 1024, 20, 16) if uvit else ("bert", 768, 24, 16))


def test_rars_recipe_has_the_published_settings() -> None:
    config = load_config("rar-b")
    settings = section(config)
    assert isinstance(settings, RarObjectiveConfig)
    assert (config.train.steps, config.train.batch_size, config.train.ema) == (250_000, 2048, 0)
    own = settings.optimizer
    assert (own.learning_rate, own.learning_rate * own.final_share, own.warmup_steps) == (4e-4, 1e-5, 62_500)
    assert (own.betas, own.weight_decay, own.clip, settings.anneal) == ((0.9, 0.96), 0.03, 1.0, (125_000, 187_500))


@pytest.mark.parametrize(("name", "dim", "depth", "head_depth"), [("llamagen-gpt-b", 768, 12, 0), ("far-b-dual", 1024, 24, 3)])
def test_published_autoregressive_generators_have_the_published_settings(name: str, dim: int, depth: int, head_depth: int) -> None:
    config = load_config(name)
    settings = section(config)
    assert isinstance(settings, GptObjectiveConfig)
    own, network = settings.optimizer, settings.network
    assert (own.learning_rate, own.final_share, own.betas, own.weight_decay) == (1e-4, 1.0, (0.9, 0.95), 0.05)
    assert (network.trunk.dim, network.trunk.depth, network.head_depth, network.trunk.dropout) == (dim, depth, head_depth, 0.1)
    assert (config.train.batch_size, config.train.ema, settings.drop_class) == (256, 0, 0.1)
