"""Data sets of token strings on the disk: parquet shards and a manifest, as `vtok tokenize` writes and generators read them."""
