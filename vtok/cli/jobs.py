"""What a command was asked to do: each input with its output, from files, folders, patterns and pipes."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vtok.cli.pipes import PIPE
from vtok.errors import DataError, OutputError


@dataclass(frozen=True)
class Job:
    """One input and its output; None is standard input or output."""

    source: Path | None
    target: Path | None

    @property
    def name(self) -> str:
        """What messages call the input."""
        return "standard input" if self.source is None else str(self.source)


@dataclass(frozen=True)
class Jobs:
    """All that a command was asked to do.

    Args:
        jobs: in the order of their inputs' names.
        several: whether a failure leaves the others to do: a folder, a pattern, or more than one input.
    """

    jobs: tuple[Job, ...]
    several: bool


def plan_jobs(inputs: Sequence[str], output: str | None, *, extensions: frozenset[str], suffix: str) -> Jobs:
    """Pair inputs with outputs; nothing is made or written yet.

    One file goes to the file `output`, or under its own stem into it when that is a folder; several files, a folder or a pattern go under
    their stems into the folder `output`; without `output` each result lies beside its input.

    Args:
        inputs: files, folders, patterns, or one `-`.
        output: a file, a folder or `-`.
        extensions: what files of a folder are taken, lower case, with the dot.
        suffix: of outputs, with the dot.

    Raises:
        DataError: an empty name, inputs that do not exist, stand for no file, or would be overwritten.
        OutputError: several inputs for one pipe.
    """
    from vtok.data.files import is_pattern
    from vtok.data.inputs import expand_inputs

    if "" in inputs or output == "":
        raise DataError("an empty name was given for a file; is a variable of the shell unset?")
    if PIPE in inputs:
        return Jobs((_from_pipe(inputs, output, suffix),), several=False)
    files = expand_inputs(inputs, extensions)
    several = len(inputs) > 1 or _expanded(inputs[0]).is_dir() or (is_pattern(inputs[0]) and not Path(inputs[0]).exists())
    if not several:
        return Jobs((_single(files[0], output, suffix),), several=False)
    if output == PIPE:
        raise OutputError("'-o -' takes one file; name a folder for several")
    targets = _named(files, inputs, output, suffix)
    return Jobs(tuple(Job(file, targets[file]) for file in files), several=True)


def check_folders(plan: Jobs, output: str | None) -> None:
    """Make the output folder and those in it; only its own parent must be there.

    Raises:
        OutputError: a folder that is missing or cannot be made.
    """
    if output is None or output == PIPE:
        return
    if plan.several or output.endswith(("/", os.sep)):
        _make(_expanded(output), parents=False)
    for folder in sorted({job.target.parent for job in plan.jobs if job.target is not None}):
        if plan.several:
            _make(folder, parents=True)
        elif not folder.is_dir():
            raise OutputError(f"{output}: the folder {folder} does not exist; create it first")


def check_unused(plan: Jobs, output: str | None) -> None:
    """Let no file beside an input be replaced whose name was not given: it may be the photograph that the input was made of.

    Raises:
        OutputError: an output is there already.
    """
    given = None if output is None else _expanded(output)
    for job in plan.jobs:
        if job.source is None or job.target is None or job.target == given:
            continue
        if job.target.parent.resolve() == job.source.parent.resolve() and job.target.exists():
            raise OutputError(f"{job.target}: exists already; name the output with -o")


def check_distinct(source: Path, target: Path) -> None:
    """Let no output replace its own input.

    Raises:
        DataError: both are one file, or a path cannot be looked at.
    """
    from vtok.data.files import look_at

    if look_at(target) == look_at(source) == "file" and target.samefile(source):
        raise DataError(f"{target}: would overwrite the input; choose another output")


def _from_pipe(inputs: Sequence[str], output: str | None, suffix: str) -> Job:
    if len(inputs) > 1:
        raise DataError("'-' stands for standard input and takes no other inputs beside it")
    if output is None or output == PIPE:
        return Job(None, None)
    target = _expanded(output)
    return Job(None, target / f"picture{suffix}" if _is_folder(output) else target)


def _single(file: Path, output: str | None, suffix: str) -> Job:
    if output == PIPE:
        return Job(file, None)
    if output is None:
        target = file.with_suffix(suffix)
    else:
        target = _expanded(output)
        target = target / file.with_suffix(suffix).name if _is_folder(output) else target
    check_distinct(file, target)
    return Job(file, target)


def _is_folder(output: str) -> bool:
    from vtok.data.files import look_at

    return output.endswith(("/", os.sep)) or look_at(_expanded(output)) == "folder"


def _expanded(text: str) -> Path:
    from vtok.data.files import expand_home

    return expand_home(text)


def _named(files: Sequence[Path], inputs: Sequence[str], output: str | None, suffix: str) -> dict[Path, Path]:
    """Targets by stem; files that share folder and stem keep their extension: `a.png`, `a.jpg` give `a.png.vtok`, `a.jpg.vtok`."""
    from vtok.data.inputs import output_paths

    stems = Counter(file.with_suffix("") for file in files)
    endings = {file: suffix if stems[file.with_suffix("")] == 1 else file.suffix + suffix for file in files}
    if output is None:
        return {file: file.with_suffix(ending) for file, ending in endings.items()}
    targets: dict[Path, Path] = {}
    for ending in set(endings.values()):
        targets |= output_paths([file for file in files if endings[file] == ending], inputs, _expanded(output), ending)
    return targets


def _make(folder: Path, *, parents: bool) -> None:
    try:
        folder.mkdir(parents=parents, exist_ok=True)
    except FileExistsError:
        raise OutputError(f"{folder}: is a file, expected a folder for several outputs") from None
    except FileNotFoundError:
        raise OutputError(f"{folder}: the folder {folder.parent} does not exist; create it first") from None
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror})") from None
