"""Published weights: the table of their names, the default ones, and `load`."""

from vtok.weights.load import discrete, load, load_by_digest, load_tokenizer
from vtok.weights.table import DEFAULT, TABLE, Weights, name_of, names, weights

__all__ = ["DEFAULT", "TABLE", "Weights", "discrete", "load", "load_by_digest", "load_tokenizer", "name_of", "names", "weights"]
