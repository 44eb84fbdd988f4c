"""All figures of sets against those of published implementations."""

import pytest
import torch

from tests.parity import Stored
from vtok.eval.distributions.frechet import frechet_distance
from vtok.eval.distributions.gaussian import Gaussian, GaussianStatistics
from vtok.eval.distributions.inception_score import ScoreRule, inception_score
from vtok.eval.distributions.kernel import clip_mmd, kernel_distance, polynomial_mmd
from vtok.eval.distributions.manifold import manifold_figures

pytestmark = pytest.mark.parity


def gaussian(rows: torch.Tensor) -> Gaussian:
    statistics = GaussianStatistics(rows.shape[1])
    statistics.update(rows)
    return statistics.compute()


def test_every_stored_figure_is_met():
    stored = Stored.load("fid_stats")
    generated, few, reference = (stored.inputs[f"feats_{name}"] for name in ("gen", "gen_few", "ref"))
    _check_distances(stored, generated, few, reference)
    _check_kernels(stored, generated, reference)
    _check_scores(stored)
    _check_neighbours(stored, generated, reference)
    assert not stored.unchecked()


def _check_distances(stored, generated, few, reference):
    own, other = gaussian(generated), gaussian(reference)
    for name, found in (("gen", own), ("ref", other)):
        stored.check(f"mu_{name}", found.mean)
        stored.check(f"sigma_{name}", found.covariance)
    for code in ("fid_pytorch_fid", "fid_torch_fidelity", "fid_adm"):
        stored.check(code, frechet_distance(own, other))
    for code in ("fid_few_pytorch_fid", "fid_few_torch_fidelity"):
        stored.check(code, frechet_distance(gaussian(few), other))
    stored.check("fid_self", frechet_distance(other, other))


def _check_kernels(stored, generated, reference):
    sizes = stored.config["sizes"]
    distance = kernel_distance(generated, reference, subsets=sizes["kid_subsets"], subset_size=sizes["kid_subset_size"], seed=2020)
    stored.check("kid_mean", distance.mean)
    stored.check("kid_std", distance.std)
    rows = slice(sizes["cmmd_rows"])
    for estimator in ("biased", "unbiased", "u_statistic"):
        stored.check(f"mmd2_poly_{estimator}", polynomial_mmd(generated[rows].double(), reference[rows].double(), estimator))
    stored.check("cmmd", clip_mmd(stored.inputs["emb_ref"], stored.inputs["emb_gen"]))


def _check_scores(stored):
    logits = stored.inputs["logits_gen"]
    for splits in (1, 10):
        for name, seed in (("shuffled", 2020), ("inorder", None)):
            score = inception_score(logits, ScoreRule(splits, shuffle_seed=seed))
            stored.check(f"is_mean_splits{splits}_{name}", score.mean)
            stored.check(f"is_std_splits{splits}_{name}", score.std)
    for block in (100, 5000):
        score = inception_score(logits, ScoreRule(None, block, None, dtype="float32"))
        stored.check(f"is_adm_split{block}", score.mean)


def _check_neighbours(stored, generated, reference):
    for k in (3, 5):
        for prefix, rule in (("adm", "adm"), ("tf", "torch-fidelity"), ("prdc", "prdc")):
            figures = manifold_figures(generated, reference, rule, k)
            names = ("precision", "recall", "density", "coverage") if prefix == "prdc" else ("precision", "recall")
            for name in names:
                stored.check(f"{prefix}_{name}_k{k}", getattr(figures, name))
