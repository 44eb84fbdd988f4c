"""The plain fields of the format, written, and read from bytes that nobody vouches for."""

from vtok.errors import FormatError

_VARINT_BYTES = 5


def varint(value: int) -> bytes:
    """Unsigned LEB128: seven bits a byte, low ones first, high bit set on all but the last.

    Raises:
        ValueError: negative, or 2**35 and above, which five bytes do not hold.
    """
    if not 0 <= value < 1 << 7 * _VARINT_BYTES:
        raise ValueError(f"a varint holds 0 to 2**35 - 1, got {value}")
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


class Cursor:
    """A place in bytes that only moves forward; whatever is missing or out of range is a `FormatError` naming it.

    Args:
        data: the whole file.
        name: how messages call it.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.data = data
        self.name = name
        self.position = 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self.data) - self.position

    def error(self, message: str) -> FormatError:
        """The error to raise: file, message and the byte where reading stands."""
        return FormatError(f"{self.name}: {message} (near byte {self.position})")

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes."""
        if count > self.left:
            raise self.error(f"cut too early: {what} takes {count} bytes, {self.left} are left")
        self.position += count
        return self.data[self.position - count : self.position]

    def byte(self, what: str) -> int:
        """The next byte."""
        return self.take(1, what)[0]

    def number(self, count: int, what: str) -> int:
        """The next `count` bytes as a little-endian number."""
        return int.from_bytes(self.take(count, what), "little")

    def varint(self, what: str, low: int, high: int) -> int:
        """The next varint, from `low` to `high`."""
        value = 0
        for place in range(_VARINT_BYTES):
            byte = self.byte(what)
            value |= (byte & 127) << 7 * place
            if byte < 128:
                break
        else:
            raise self.error(f"damaged: {what} takes more than {_VARINT_BYTES} bytes")
        if byte == 0 and place:
            raise self.error(f"damaged: {what} is not in its shortest form")
        if not low <= value <= high:
            raise self.error(f"damaged or not supported: {what} is {value}, allowed are {low} to {high}")
        return value
