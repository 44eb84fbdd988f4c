"""Names of the published discriminator of TiTok, and ours."""

import re

from torch import Tensor

NAMES = (
    (r"block_in\.0\.", "first."),
    (r"blocks\.(\d+)\.0\.", r"blocks.\1.conv."),
    (r"blocks\.(\d+)\.2\.", r"blocks.\1.norm."),
    (r"to_logits\.0\.", "mix."),
    (r"to_logits\.2\.", "last."),
)


def ours(name: str) -> str:
    """Our name of a published parameter."""
    for published, own in NAMES:
        name = re.sub(f"^{published}", own, name)
    return name


def discriminator_weights(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state of `BlurPoolDiscriminator`; the blurring kernels, which are no parameters, are left out."""
    return {ours(name): value for name, value in published.items() if not name.endswith(".kernel")}
