"""Pictures to measure on while training, the same for every run; `data.split = "train"` leaves them out of it."""

import itertools

import numpy as np
from torch import Tensor

from vtok.data.crops import center_square
from vtok.data.eight_bit import from_eight_bit
from vtok.data.sources import is_held_out, readable
from vtok.train.config import DataConfig
from vtok.train.samples.pictures import open_data, scaled_down

_ORDER_SEED = 0  # not the run's: runs of other seeds measure on the same pictures


def held_out_crops(config: DataConfig, num_pictures: int, *, seed: int = 0) -> Tensor:
    """The squares in the middle of held-out pictures, the same ones for every run on this data.

    Whatever `config.split` says, they are of the held-out part; where no picture belongs to it, of all pictures.

    Args:
        num_pictures: how many; fewer where there are not so many.
        seed: of synthetic pictures.

    Returns:
        (n, 3, S, S) float32 in [0, 1].

    Raises:
        ConfigError: no path given.
        DataError: nothing to read there.
    """
    source = open_data(config.model_copy(update={"split": "all"}), seed)
    held_out = [index for index in range(len(source)) if is_held_out(source.key(index))]
    order = np.random.default_rng(_ORDER_SEED).permutation(held_out or len(source)).tolist()
    samples = itertools.islice(readable(source, order), num_pictures)
    return from_eight_bit(np.stack([center_square(scaled_down(sample.pixels, config.max_side), config.crop_size) for sample in samples]))
