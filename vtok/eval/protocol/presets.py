"""What published evaluations do, so that a number may be laid beside theirs: FIDs of two presets are not comparable."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vtok.errors import ConfigError
from vtok.eval.distributions.inception_score import ScoreRule


@dataclass(frozen=True)
class Preset:
    """One code base's way from pictures to numbers. What it does not measure, or takes from its caller, is here as in `vtok`.

    Args:
        name: as asked for.
        crop: of originals, a name of `vtok.eval.protocol.crops.CROPS`.
        rounding: of decoded pictures, a name of `vtok.eval.protocol.rounding.ROUNDINGS`.
        rounds_originals: whether originals go through it too; otherwise their 8 bits are taken as they are.
        inception_resize: a name of `vtok.eval.backbones.inception_backbone.INPUT_RULES`.
        score_splits: parts of equal size that the Inception score is computed of; None: see `score_block`.
        score_block: pictures of a part, in their order, the last may be short; None: see `score_splits`.
        score_shuffle_seed: of NumPy's `RandomState`, whose permutation comes before the cut into parts; None leaves the order.
        score_eps: added inside the logarithms.
        score_dtype: of the softmax.
        kid: rule of the kernel distance: "torch-fidelity" (100 subsets of 1,000, seed 2020) or "clean-fid" (of the smaller set at most).
        manifold: rule of precision and recall: "torch-fidelity", "adm" (squared distances) or "prdc" (strictly inside).
        note: what else is different there, and what is not reproduced.
        source: code and commit that it was read off.
    """

    name: str
    crop: str
    rounding: str
    inception_resize: str
    note: str
    source: str
    rounds_originals: bool = False
    score_splits: int | None = 10
    score_block: int | None = None
    score_shuffle_seed: int | None = 2020
    score_eps: float = 0.0
    score_dtype: Literal["float32", "float64"] = "float64"
    kid: Literal["torch-fidelity", "clean-fid"] = "torch-fidelity"
    manifold: Literal["torch-fidelity", "adm", "prdc"] = "torch-fidelity"

    @property
    def score_rule(self) -> ScoreRule:
        """Of the Inception score."""
        return ScoreRule(self.score_splits, self.score_block, self.score_shuffle_seed, self.score_eps, self.score_dtype)

    def to_json(self) -> dict[str, Any]:
        """All fields, for a record beside the numbers."""
        return asdict(self)


_ADM_EVALUATOR: dict[str, Any] = {
    "score_splits": None,
    "score_block": 5000,
    "score_shuffle_seed": None,
    "score_dtype": "float32",
    "manifold": "adm",
}
_TITOK_EVALUATOR: dict[str, Any] = {
    "rounds_originals": True,
    "score_splits": 1,
    "score_shuffle_seed": None,
    "score_eps": 1e-16,
    "score_dtype": "float32",
}

TABLE: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            name="vtok",
            crop="resize_center_bicubic",
            rounding="round",
            inception_resize="tf1",
            note="the default: 8 bits by true rounding on both sides, symmetric root of the covariances in float64",
            source="vtok",
        ),
        Preset(
            name="adm",
            crop="adm",
            rounding="truncate_127",
            inception_resize="tf1",
            note="also DiT, MAR, JiT. gFID is against its reference batch of the training set, 50,000 samples, 50 of each class. Upstream "
            "computes neighbours in float16; some of the family round instead of cutting off",
            source="openai/guided-diffusion@22e0df81:evaluations/evaluator.py",
            **_ADM_EVALUATOR,
        ),
        Preset(
            name="titok",
            crop="resize_center_bicubic",
            rounding="truncate",
            inception_resize="tf1",
            note="also MaskBit, RAR. rFID is against the originals of the same 50,000 pictures; gFID goes by adm",
            source="bytedance/1d-tokenizer@942a96fb:evaluator",
            **_TITOK_EVALUATOR,
        ),
        Preset(
            name="one-d-piece",
            crop="resize_center_bicubic",
            rounding="truncate",
            inception_resize="tf1",
            note="TiTok's evaluator. Upstream runs it in bfloat16 and TF32, which is not reproduced",
            source="turingmotors/One-D-Piece@473665d1:eval",
            **_TITOK_EVALUATOR,
        ),
        Preset(
            name="llamagen",
            crop="adm",
            rounding="truncate_127",
            inception_resize="tf1",
            note="ADM's evaluator on 8-bit crops. Upstream's PSNR is against originals in float, its SSIM with a doubled range",
            source="FoundationVision/LlamaGen@ce98ec41",
            **_ADM_EVALUATOR,
        ),
        Preset(
            name="var",
            crop="var",
            rounding="round",
            inception_resize="tf1",
            note="ADM's evaluator on PNG files. The crop is closer than the others', so that PSNR is not comparable either",
            source="FoundationVision/VAR@78b95394",
            **_ADM_EVALUATOR,
        ),
        Preset(
            name="open-magvit2",
            crop="resize_center_bilinear",
            rounding="none",
            inception_resize="torch",
            rounds_originals=True,
            note="also IBQ. Pictures are not rounded for FID. Upstream's crop is OpenCV's bilinear without antialias, here it is Pillow's",
            source="TencentARC/SEED-Voken@b9a17eac",
        ),
        Preset(
            name="bsq-vit",
            crop="resize_center_lanczos",
            rounding="none",
            inception_resize="torch",
            rounds_originals=True,
            note="a copy of pytorch-fid on pictures that are not rounded. The filter is that of its configurations for 256 pixels",
            source="zhaoyue-zephyrus/bsq-vit@37d212d2",
        ),
        Preset(
            name="torch-fidelity",
            crop="resize_center_bicubic",
            rounding="round",
            inception_resize="tf1",
            note="takes 8-bit pictures as they are given",
            source="torch-fidelity 0.4.0",
        ),
        Preset(
            name="pytorch-fid",
            crop="resize_center_bicubic",
            rounding="round",
            inception_resize="torch",
            note="takes picture files as they are given",
            source="pytorch-fid 0.3.0",
        ),
        Preset(
            name="clean-fid",
            crop="resize_center_bicubic",
            rounding="round",
            inception_resize="clean",
            kid="clean-fid",
            note='its mode "clean" (arXiv 2104.11222). Upstream draws the subsets of KID from NumPy\'s global generator',
            source="clean-fid 0.1.35",
        ),
    )
}


def preset(name: str) -> Preset:
    """The preset of a name.

    Raises:
        ConfigError: there is none; the message has the nearest, and all.
    """
    if name not in TABLE:
        near = difflib.get_close_matches(name, TABLE, n=1)
        raise ConfigError(f"no preset {name!r}{f'; did you mean {near[0]}?' if near else ''} (known: {', '.join(TABLE)})")
    return TABLE[name]
