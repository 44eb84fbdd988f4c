"""What a continuous latent costs: its distance from the unit normal (arXiv 1312.6114, appendix B)."""

from torch import Tensor

from vtok.tokenizers.latents import LOGVAR_RANGE


def kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(0, 1)) in nats of each token, (B, N) float32: summed over its components, not averaged.

    A VAE's usual loss is the sum over a sample's tokens, averaged over the batch alone: `kl(mean, logvar).sum(1).mean()`.

    Args:
        mean, logvar: (B, N, D); logvar is clamped to [-30, 20].
    """
    mean, logvar = mean.float(), logvar.float().clamp(*LOGVAR_RANGE)
    return (mean.square() + logvar.exp() - 1 - logvar).sum(-1) / 2
