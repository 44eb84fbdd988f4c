"""`.vtok` files: pictures to bytes of a wanted size and back (SPEC.md). Nothing here imports torch before a picture is coded."""

from vtok.codec.compress import compress, encode_pictures
from vtok.codec.container import TokenFile, file_size, read, write
from vtok.codec.decompress import decode_file, decompress
from vtok.codec.request import Rate
from vtok.codec.truncate import truncate

__all__ = ["Rate", "TokenFile", "compress", "decode_file", "decompress", "encode_pictures", "file_size", "read", "truncate", "write"]
