"""What the command line was given: files, folders and patterns in, one output path for each."""

from collections.abc import Iterable, Sequence, Set
from pathlib import Path

from vtok.data.files import absolute, expand_home, expand_pattern, find_files, fixed_folder, is_pattern, look_at
from vtok.errors import DataError


def expand_inputs(inputs: Sequence[str], extensions: frozenset[str]) -> list[Path]:
    """The files that the inputs stand for, sorted, each once.

    A file that is named is taken whatever its extension; folders (searched to any depth, hidden ones left out) and patterns give the
    files with one of the extensions.

    Args:
        inputs: files, folders, or patterns such as `photos/**/*.jpg`.
        extensions: lower case, with the dot.

    Raises:
        DataError: an input that does not exist or stands for no file.
    """
    found: dict[Path, Path] = {}
    for text in inputs:
        for path in _expand(text, extensions):
            found.setdefault(absolute(path), path)
    return [found[place] for place in sorted(found)]


def output_paths(files: Sequence[Path], inputs: Sequence[str], outdir: Path, suffix: str) -> dict[Path, Path]:
    """Where each file's result goes: its path below the input folder it came from, under `outdir`, with another suffix.

    `a/b/x.jpg` of the input folder `a` gives `OUTDIR/b/x.vtok`; a file named by itself gives `OUTDIR/x.vtok`; a pattern counts as the
    folder before its first wildcard.

    Args:
        files: what `expand_inputs` gave for `inputs`.
        suffix: with the dot.

    Raises:
        DataError: two files that would write one output, or an output that would overwrite an input.
    """
    places = [expand_home(text) for text in inputs]
    single = {absolute(path) for path in places if look_at(path) == "file"}
    folders = {absolute(_folder(path)) for path in places if look_at(path) != "file"}
    outputs = {file: outdir / _relative(absolute(file), single, folders).with_suffix(suffix) for file in files}
    _check_distinct(outputs)
    return outputs


def _expand(text: str, extensions: frozenset[str]) -> list[Path]:
    path = expand_home(text)
    there = look_at(path)
    if there == "folder":
        return _in_folder(path, extensions)
    if there == "file":
        return [path]
    if not is_pattern(text):
        raise DataError(f"{text}: no such file or folder")
    found = [file for match in expand_pattern(str(path)) for file in _matched(match, extensions)]
    if not found:
        raise DataError(f"{text}: the pattern matches no file with an extension of {_listed(extensions)}")
    return found


def _in_folder(folder: Path, extensions: frozenset[str]) -> list[Path]:
    found = find_files(folder, extensions)
    if not found:
        raise DataError(f"{folder}: the folder has no file with an extension of {_listed(extensions)}")
    return found


def _matched(match: Path, extensions: frozenset[str]) -> list[Path]:
    if match.is_dir():
        return find_files(match, extensions)
    return [match] if match.suffix.lower() in extensions else []


def _listed(extensions: Iterable[str]) -> str:
    return ", ".join(sorted(extensions))


def _folder(path: Path) -> Path:
    return path if look_at(path) == "folder" else fixed_folder(str(path))


def _relative(place: Path, single: Set[Path], folders: Set[Path]) -> Path:
    around = [folder for folder in folders if place.is_relative_to(folder)]
    if place in single or not around:
        return Path(place.name)
    return place.relative_to(min(around, key=lambda folder: len(folder.parts)))


def _check_distinct(outputs: dict[Path, Path]) -> None:
    inputs = {absolute(file): file for file in outputs}
    writers: dict[Path, Path] = {}
    for file, output in outputs.items():
        place = absolute(output)
        if place in writers:
            raise DataError(f"{writers[place]} and {file} would both write {output}; rename one or use two output folders")
        if place in inputs:
            raise DataError(f"{output}: would overwrite the input {inputs[place]}; choose another output folder")
        writers[place] = file
