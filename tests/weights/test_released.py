"""Files that released weights wrote decode for ever; `tests/data/released/README.md` says how they were made."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vtok
from vtok.codec import TokenFile
from vtok.eval.pairs.psnr import psnr
from vtok.weights import load_by_digest, load_tokenizer

FOLDER = Path(__file__).parent.parent / "data" / "released"
FILES = sorted(FOLDER.glob("*.vtok"))


def test_there_are_some():
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_weights_of_a_file_are_found_by_its_digest_and_still_have_their_name(path: Path) -> None:
    digest = TokenFile.from_bytes(path.read_bytes()).digest
    found = load_by_digest(digest)
    assert found is not None
    assert found.code_digest == load_tokenizer(path.stem).code_digest


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_decodes_to_its_picture(path: Path) -> None:
    with Image.open(path.with_suffix(".png")) as picture:
        expected = np.asarray(picture)
    assert psnr(np.asarray(vtok.decompress(path.read_bytes())), expected) > 50  # processors differ in the last bit of a sum
