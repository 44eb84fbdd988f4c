"""k-NN on frozen embeddings: the classes of the nearest training pictures vote."""

from typing import Final

import torch
from torch import Tensor
from torch.nn.functional import normalize

NUM_NEIGHBOURS: Final = 20
TEMPERATURE: Final = 0.07


class NearestNeighbours:
    """The nearest labelled pictures of each query by cosine similarity, found block by block; no full matrix of pairs is ever there.

    Similarities are computed in float64 and compared in float32: equal embeddings, of which short strings have many, so count as equally
    near however they are cut into blocks. Among equally near ones the earlier counts, so give pictures in an order that says nothing of
    their classes.

    Args:
        queries: (Q, F) float.
        num_neighbours: k.
        tile: queries that are compared together.
    """

    def __init__(self, queries: Tensor, *, num_neighbours: int = NUM_NEIGHBOURS, tile: int = 1024):
        if queries.ndim != 2 or num_neighbours < 1 or tile < 1:
            raise ValueError(
                f"queries must be (Q, F), neighbours and tiles at least 1, got {tuple(queries.shape)}, {num_neighbours}, {tile}"
            )
        self._queries = queries
        self._num_neighbours = num_neighbours
        self._tile = tile
        self._similarities = torch.empty(len(queries), 0, device=queries.device)  # (Q, up to k), falling
        self._labels = torch.empty(len(queries), 0, dtype=torch.int64, device=queries.device)

    def update(self, features: Tensor, labels: Tensor) -> None:
        """Look at more labelled pictures: features (B, F) float, labels (B,) int64."""
        if features.ndim != 2 or features.shape[1] != self._queries.shape[1] or labels.shape != features.shape[:1]:
            raise ValueError(f"features must be (B, {self._queries.shape[1]}) with as many labels, got {tuple(features.shape)}")
        others, their_labels = _directions(features.to(self._queries.device)), labels.to(self._queries.device)
        found = [
            self._nearest(slice(start, start + self._tile), others, their_labels) for start in range(0, len(self._queries), self._tile)
        ]
        if found:
            self._similarities, self._labels = (torch.cat(parts) for parts in zip(*found, strict=True))

    def compute(self, num_classes: int, temperature: float = TEMPERATURE) -> Tensor:
        """The class (Q,) int64 with most votes: each neighbour's counts exp(similarity / temperature), as in DINO (arXiv 2104.14294)."""
        votes = torch.zeros(len(self._queries), num_classes, dtype=torch.float64, device=self._queries.device)
        votes.scatter_add_(1, self._labels, (self._similarities.double() / temperature).exp())
        return votes.argmax(1)

    def _nearest(self, rows: slice, others: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The nearest of those known and the others (B, F), for some of the queries."""
        similarities = torch.cat([self._similarities[rows], (_directions(self._queries[rows]) @ others.T).float()], 1)
        nearest, places = similarities.sort(dim=1, descending=True, stable=True)
        known = torch.cat([self._labels[rows], labels.expand(len(similarities), -1)], 1)
        kept = slice(self._num_neighbours)
        return nearest[:, kept], known.gather(1, places[:, kept])


def _directions(features: Tensor) -> Tensor:
    return normalize(features.double(), dim=1)
