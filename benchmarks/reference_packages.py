"""Do our figures agree with those of the packages that people quote?

    python -m benchmarks.reference_packages DATA --inception FILE -o results/reference_packages.json

Reconstructs pictures with the default model at `--tokens` tokens and measures them twice: by ours, and by lpips, torch-fidelity,
pytorch-fid's formula through scipy, scikit-image, torchmetrics and pytorch-msssim; of the last three those that are not installed are
left out. FILE holds Inception's weights in their published form; any weights show whether two programs agree, but it is FID only with
the published ones. LPIPS needs its trunk: VTOK_LPIPS_WEIGHTS.
"""

import argparse
import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from benchmarks.pictures import add_options, from_options
from benchmarks.record import Row, head, report
from vtok.data.eight_bit import to_eight_bit
from vtok.eval.backbones.inception import load_inception
from vtok.eval.backbones.inception_backbone import INPUT_RULES
from vtok.eval.backbones.weight_file import digest
from vtok.eval.distributions.frechet import frechet_distance
from vtok.eval.distributions.gaussian import Gaussian
from vtok.eval.distributions.inception_score import ScoreRule, inception_score
from vtok.eval.distributions.kernel import kernel_distance
from vtok.eval.pairs.lpips import find_trunk
from vtok.eval.pairs.measures import Measures
from vtok.eval.protocol.crops import CROPS
from vtok.eval.run.references import gaussian_of
from vtok.weights import load_tokenizer

BATCH = 20
KID = {"subsets": 20, "subset_size": 100}


def beside(name: str, package: str, ours: Tensor | float, theirs: Tensor | float) -> dict[str, Any]:
    """One line of the result: means, and the greatest difference of single pictures."""
    own, other = (torch.as_tensor(value, dtype=torch.float64) for value in (ours, theirs))
    difference = float((own - other).abs().max())
    return {"figure": name, "package": package, "ours": float(own.mean()), "theirs": float(other.mean()), "greatest_difference": difference}


def pairs(originals: Tensor, decoded: Tensor) -> list[dict[str, Any]]:
    """PSNR, SSIM and LPIPS of single pictures."""
    ours = Measures(("psnr", "ssim", "lpips")).of(originals).compare(decoded)
    arrays = [part.permute(0, 2, 3, 1).contiguous().numpy() for part in (originals, decoded)]
    found = [beside("lpips", "lpips", ours["lpips"], _lpips(originals, decoded))]
    with contextlib.suppress(ImportError):
        from skimage.metrics import peak_signal_noise_ratio, structural_similarity

        settings: Row | dict[str, Any] = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": -1}
        theirs = [structural_similarity(one, other, data_range=255, **settings) for one, other in zip(*arrays, strict=True)]
        found.append(beside("ssim", "scikit-image, told to follow Wang", ours["ssim"], torch.tensor(theirs)))
        theirs = [structural_similarity(one, other, channel_axis=-1) for one, other in zip(*arrays, strict=True)]
        found.append(beside("ssim", "scikit-image, its default", ours["ssim"], torch.tensor(theirs)))
        theirs = [peak_signal_noise_ratio(one, other) for one, other in zip(*arrays, strict=True)]
        found.append(beside("psnr", "scikit-image", ours["psnr"], torch.tensor(theirs)))
    with contextlib.suppress(ImportError):
        from pytorch_msssim import ssim

        theirs = ssim(originals.double(), decoded.double(), data_range=255, size_average=False)
        found.append(beside("ssim", "pytorch-msssim", ours["ssim"], theirs))
    with contextlib.suppress(ImportError, RuntimeError):
        from torchmetrics.functional.image import structural_similarity_index_measure

        scaled = (part.double() / 255 for part in (decoded, originals))
        theirs = structural_similarity_index_measure(*scaled, data_range=1.0, reduction="none")
        found.append(beside("ssim", "torchmetrics", ours["ssim"], theirs))
    return found


@torch.no_grad()
def _lpips(originals: Tensor, decoded: Tensor) -> Tensor:
    """By the package, whose trunk is filled from our file."""
    import lpips
    from safetensors.torch import load_file

    weights = load_file(find_trunk())
    with contextlib.redirect_stdout(io.StringIO()):
        network = lpips.LPIPS(net="alex", pretrained=True, pnet_rand=True, verbose=False)
    trunk = network.net
    places = {0: trunk.slice1, 3: trunk.slice2, 6: trunk.slice3, 8: trunk.slice4, 10: trunk.slice5}
    for layer, part in places.items():
        convolution = dict(part.named_children())[str(layer)]
        convolution.weight.copy_(weights[f"features.{layer}.weight"].float())
        convolution.bias.copy_(weights[f"features.{layer}.bias"].float())
    return network.eval()(originals / 127.5 - 1, decoded / 127.5 - 1).flatten()


def sets(originals: Tensor, decoded: Tensor, file: Path) -> list[dict[str, Any]]:
    """FID, KID and the Inception score."""
    from torch_fidelity import calculate_metrics

    network, rule = load_inception(file), INPUT_RULES["tf1"]
    own = [outputs(part, lambda images: network(rule(images.float()))) for part in (decoded, originals)]
    theirs = calculate_metrics(
        input1=_Pictures(decoded),
        input2=_Pictures(originals),
        isc=True,
        fid=True,
        kid=True,
        kid_subsets=KID["subsets"],
        kid_subset_size=KID["subset_size"],
        cuda=False,
        batch_size=BATCH,
        save_cpu_ram=True,
        verbose=False,
        feature_extractor_weights_path=str(file),
    )
    gaussians = [gaussian_of(part["features"]) for part in own]
    distance, kid = frechet_distance(*gaussians), kernel_distance(own[0]["features"], own[1]["features"], **KID)
    score = inception_score(own[0]["logits_unbiased"], ScoreRule())
    package = "torch-fidelity"
    return [
        beside("fid", package, distance, theirs["frechet_inception_distance"]),
        beside("fid", "scipy's sqrtm, as pytorch-fid and ADM", distance, _by_sqrtm(*gaussians)),
        beside("kid", package, kid.mean, theirs["kernel_inception_distance_mean"]),
        beside("kid, deviation", package, kid.std, theirs["kernel_inception_distance_std"]),
        beside("is", package, score.mean, theirs["inception_score_mean"]),
        beside("is, deviation", package, score.std, theirs["inception_score_std"]),
    ]


class _Pictures(TensorDataset):
    """As torch-fidelity takes them: (3, H, W) uint8 each."""

    def __getitem__(self, index: int) -> Tensor:
        return self.tensors[0][index]


@torch.no_grad()
def outputs(pictures: Tensor, network: Callable[[Tensor], dict[str, Tensor]]) -> dict[str, Tensor]:
    """All outputs of a network, in batches."""
    parts = [network(part) for part in pictures.split(BATCH)]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def _by_sqrtm(one: Gaussian, other: Gaussian) -> float:
    from scipy.linalg import sqrtm

    root = sqrtm(one.covariance.numpy() @ other.covariance.numpy())
    traces = float(one.covariance.trace() + other.covariance.trace())
    return float((one.mean - other.mean).square().sum()) + traces - 2 * float(np.trace(root).real)


def main() -> None:
    """Parse options, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--inception", type=Path, help="Inception's weights; without, no figures of sets")
    parser.add_argument("--tokens", type=int, default=16)
    options = parser.parse_args()
    tokenizer, pictures = load_tokenizer(), from_options(options)
    side = tokenizer.spec.input_size[0]
    crops = np.stack([CROPS["resize_center_bicubic"](sample.pixels, side) for sample in pictures])
    originals = torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous()
    decoded = torch.cat([to_eight_bit(tokenizer.decode(tokenizer.encode(part / 255, options.tokens))) for part in originals.split(BATCH)])
    rows = pairs(originals, decoded) + ([] if options.inception is None else sets(originals, decoded, options.inception))
    inception = None if options.inception is None else {"file": options.inception.name, "sha256": digest(options.inception)}
    facts = {"data": pictures.facts(), "tokens": options.tokens, "inception": inception, "rows": rows}
    report(head("reference_packages") | facts, options.output)


if __name__ == "__main__":
    main()
