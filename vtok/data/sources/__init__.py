"""Data sets of pictures: folders, webdataset tars, parquet tables, synthetic pictures."""

from vtok.data.sources.base import Sample, Source
from vtok.data.sources.folder import CaptionedFolderSource, FolderSource
from vtok.data.sources.open import open_source
from vtok.data.sources.parquet import ParquetSource
from vtok.data.sources.readable import Skipped, readable
from vtok.data.sources.split import Subset, is_held_out
from vtok.data.sources.synthetic import SyntheticSource
from vtok.data.sources.tar import TarSource

__all__ = [
    "CaptionedFolderSource",
    "FolderSource",
    "ParquetSource",
    "Sample",
    "Skipped",
    "Source",
    "Subset",
    "SyntheticSource",
    "TarSource",
    "is_held_out",
    "open_source",
    "readable",
]
