"""What a user says of how a decoder works, checked before any work."""

from typing import TYPE_CHECKING, Any

from vtok.errors import VtokError

if TYPE_CHECKING:
    from vtok.models.decoders import DecodeOptions


def decode_options(**given: Any) -> "DecodeOptions":
    """The options of the command line, by their names in `DecodeOptions`; None where one was not given.

    Raises:
        VtokError: a value out of its range.
    """
    from vtok.models.decoders import DecodeOptions

    try:
        return DecodeOptions(**given)
    except ValueError as error:
        name, _, fault = str(error).partition(" ")
        raise VtokError(f"--{name.replace('_', '-')} {fault}") from None


def option_facts(options: "DecodeOptions") -> dict[str, Any]:
    """The options that were given, by name."""
    return {name: getattr(options, name) for name in sorted(options.given())}
