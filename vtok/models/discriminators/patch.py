"""PatchGAN (arXiv 1611.07004, section 3.2.2): one logit for each overlapping patch."""

from typing import Literal

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

PatchNorm = Literal["group", "spectral", "batch"]


class PatchDiscriminator(nn.Module):
    """Convolutions that halve the map `depth` times, then two more at its last size.

    With a depth of 3 a logit sees 70 x 70 pixels.

    Args:
        dim: channels after the first convolution, doubled by each further one up to 8 times as many; a multiple of 16 with "group".
        depth: halvings.
        norm: "group", "batch": after all but the first and last convolution; "spectral": of all kernels, whose running vectors move with
            each forward in training mode. "batch" takes the means of the pictures that it is given together, in eval mode too, and each
            process has its own.
    """

    def __init__(self, dim: int = 64, depth: int = 3, *, norm: PatchNorm = "group"):
        super().__init__()
        widths = [dim * min(2**k, 8) for k in range(depth + 1)]
        layers: list[nn.Module] = [_conv(3, dim, 2, norm), nn.LeakyReLU(0.2)]
        for k in range(1, depth + 1):
            layers.append(_conv(widths[k - 1], widths[k], 2 if k < depth else 1, norm, bias=norm != "batch"))
            layers += _norms(widths[k], norm)
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers, _conv(widths[-1], 1, 1, norm))

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (B, 1, h, w), high for images, of pictures (B, 3, H, W) in [0, 1]."""
        logits: Tensor = self.layers(2 * pictures - 1)
        return logits


def _norms(dim: int, norm: PatchNorm) -> list[nn.Module]:
    if norm == "group":
        return [nn.GroupNorm(32, dim)]
    if norm == "batch":
        batch_norm = nn.BatchNorm2d(dim, track_running_stats=False)
        nn.init.normal_(batch_norm.weight, 1, 0.02)
        return [batch_norm]
    return []


def _conv(in_channels: int, out_channels: int, stride: int, norm: PatchNorm, *, bias: bool = True) -> nn.Module:
    conv = nn.Conv2d(in_channels, out_channels, 4, stride, padding=1, bias=bias)
    nn.init.normal_(conv.weight, 0, 0.02)
    return spectral_norm(conv) if norm == "spectral" else conv
