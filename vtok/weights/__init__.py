"""Published weights: the table of their names, the default ones, and `load`."""

from vtok.weights.load import load, load_by_digest
from vtok.weights.table import DEFAULT, TABLE, Weights, names, weights

__all__ = ["DEFAULT", "TABLE", "Weights", "load", "load_by_digest", "names", "weights"]
