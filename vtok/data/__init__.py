"""Pictures and data sets: reading, colour, crops, the 8-bit conversion, sources, atomic writing."""

from vtok.data.atomic import atomic_file, atomic_folder, write_bytes
from vtok.data.crops import center_crop, random_scale_crop, resize
from vtok.data.eight_bit import from_eight_bit, to_eight_bit
from vtok.data.inputs import expand_inputs, output_paths
from vtok.data.pictures import (
    MAX_PIXELS,
    PICTURE_EXTENSIONS,
    WRITABLE_EXTENSIONS,
    PictureSource,
    encode_png,
    read_picture,
    read_size,
    write_picture,
)
from vtok.data.sources import Sample, Skipped, Source, open_source, readable

__all__ = [
    "MAX_PIXELS",
    "PICTURE_EXTENSIONS",
    "WRITABLE_EXTENSIONS",
    "PictureSource",
    "Sample",
    "Skipped",
    "Source",
    "atomic_file",
    "atomic_folder",
    "center_crop",
    "encode_png",
    "expand_inputs",
    "from_eight_bit",
    "open_source",
    "output_paths",
    "random_scale_crop",
    "read_picture",
    "read_size",
    "readable",
    "resize",
    "to_eight_bit",
    "write_bytes",
    "write_picture",
]
