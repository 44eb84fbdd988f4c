"""What a `.vtok` file may hold at most (SPEC.md, section 2); checked before anything is allocated."""

MAX_PIXELS = 100_000_000
MAX_SIDE = 65_535
MAX_TILES = 65_536
MAX_TOKENS = 65_536  # a tile
MAX_CODEBOOKS = 64
MAX_CODEBOOK_SIZE = 2**31
MAX_CAPTION_BYTES = 4_096
MAX_CHUNKS = 16
MAX_CHUNK_BYTES = 65_536  # all chunks together
