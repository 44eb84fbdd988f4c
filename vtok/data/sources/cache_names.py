"""What the files of a cache of latents are called."""

MANIFEST = "vtok_cache.json"
METADATA = "vtok_cache"  # the entry of a shard's own metadata
SHARD_PATTERN = r"^shard-\d{8}\.safetensors$"


def shard_name(start: int) -> str:
    """The file of the shard whose first picture is `start`."""
    return f"shard-{start:08d}.safetensors"
