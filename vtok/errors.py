"""The one tree of errors that a user can put right; the command line turns each into one line and exit code 2."""


class VtokError(Exception):
    """Something the user can put right: the message says what was found, what was expected and what to do."""


class PictureError(VtokError):
    """A picture file that cannot be read, or whose size or colour format is refused."""


class DataError(VtokError):
    """A data set (folder, tar, parquet) that is missing, empty or damaged."""


class OutputError(VtokError):
    """A place that cannot be written: missing folder, no permission, full disk."""


class FormatError(VtokError):
    """Bytes that are not a valid `.vtok` file: wrong magic, damaged, cut too early, newer version."""


class ModelMismatchError(VtokError):
    """A `.vtok` file or token string that was made with other weights than those at hand."""


class UnknownModelError(VtokError):
    """A name that is neither a published model, nor a folder, nor a hub id."""


class WeightsError(VtokError):
    """A weight file or model folder that is missing, incomplete or damaged."""


class ConfigError(VtokError):
    """A recipe or model configuration with an unknown key or a value out of range."""


class LengthError(VtokError):
    """A number of tokens that the spec or the file cannot serve."""


class BudgetError(VtokError):
    """A size or quality that no choice of tokens reaches."""


class UnsupportedError(VtokError):
    """An option, size or operation that this family of tokenizers does not have."""


class MissingExtraError(VtokError):
    """A library that is not installed; the message holds the install line."""


class TrainingError(VtokError):
    """A run that cannot go on: a loss or gradient that is no number, or checkpoints of which none can be read."""
