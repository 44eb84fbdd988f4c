"""Recognition by a toy classifier: the class is the brightest part of the picture."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from vtok.errors import DataError, UnsupportedError
from vtok.eval.downstream.classification import Recognition, class_positions

CLASSES = 10  # one a row


class BrightestRow:
    """Logits are the mean values of the rows."""

    name = "rows"
    dims = {"features": 4, "logits": CLASSES}  # noqa: RUF012 - never changed

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        assert images.dtype == torch.float32
        return {"logits": images.mean((1, 3)), "features": images.new_zeros(len(images), 4)}


@dataclass(frozen=True)
class Named:
    """A data set that has a name and names its classes."""

    class_names: tuple[str, ...] | None
    name: str = "my data"


def bright(*rows, second=None):
    """Pictures uint8 whose brightest rows these are, and the second brightest."""
    images = torch.zeros(len(rows), 3, CLASSES, 4, dtype=torch.uint8)
    for image, row in zip(images, rows, strict=True):
        if second is not None:
            image[:, second] = 100
        image[:, row] = 200
    return images


def recognition(positions=(2, 5, 7)):
    return Recognition(BrightestRow(), positions)


def test_top_1_counts_pictures_whose_class_is_the_best_of_the_data_set():
    labels = torch.tensor([0, 1, 2])  # rows 2, 5, 7
    originals = recognition().of(bright(2, 5, 5), labels)
    assert originals.top1.tolist() == [1.0, 1.0, 0.0]
    figures = originals.compare(bright(2, 7, 7))
    assert figures["top1"].tolist() == [1.0, 0.0, 1.0]
    assert figures["agreement"].tolist() == [1.0, 0.0, 0.0]
    assert {values.dtype for values in figures.values()} == {torch.float64}


def test_classes_that_the_data_set_does_not_have_take_nothing_from_top_1_but_from_agreement():
    originals = recognition().of(bright(5, second=0), torch.tensor([1]))
    figures = originals.compare(bright(0, second=5))
    assert (figures["top1"].item(), figures["agreement"].item()) == (1.0, 0.0)


def test_originals_agree_with_themselves():
    pictures = torch.randint(256, (9, 3, CLASSES, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    originals = recognition(None).of(pictures)
    assert originals.compare(pictures)["agreement"].tolist() == [1.0] * 9


def test_pictures_may_be_float_from_0_to_255():
    originals = recognition().of(bright(2, 5).double(), torch.tensor([0, 1]))
    assert originals.compare(bright(2, 5).float())["top1"].tolist() == [1.0, 1.0]


def test_agreement_needs_no_labels():
    originals = recognition(None).of(bright(1, 2))
    assert originals.top1 is None
    assert set(originals.compare(bright(1, 3))) == {"agreement"}


def test_labels_that_are_not_asked_for_are_not_looked_at():
    assert set(recognition(None).of(bright(1), torch.tensor([99])).compare(bright(1))) == {"agreement"}


def test_missing_labels_are_one_clear_error():
    with pytest.raises(DataError, match="some have none; agreement with the originals needs no labels"):
        recognition().of(bright(1))


@pytest.mark.parametrize("label", [-1, 3])
def test_labels_of_no_class_are_refused(label):
    with pytest.raises(DataError, match="names 3 classes"):
        recognition().of(bright(1), torch.tensor([label]))


def test_a_network_without_logits_is_no_classifier():
    backbone = BrightestRow()
    backbone.dims = {"features": 4}
    with pytest.raises(UnsupportedError, match="rows is no classifier"):
        Recognition(backbone, None)


class TestPositions:
    @pytest.fixture(autouse=True)
    def _timm(self):
        pytest.importorskip("timm", reason="needs the extra `eval`")

    def test_wordnet_ids_have_their_places_in_imagenet(self):
        assert class_positions(Named(("n01443537", "n01440764", "n15075141"))) == [1, 0, 999]

    def test_all_of_imagenet_may_be_named_in_words(self):
        from timm.data import ImageNetInfo

        assert class_positions(Named(tuple(ImageNetInfo().label_descriptions()))) == list(range(1000))

    def test_other_classes_are_refused(self):
        with pytest.raises(DataError, match="my data: 1 of its 2 classes are not ImageNet-1k's, 'cat' among them"):
            class_positions(Named(("n01443537", "cat")))


def test_data_without_names_of_classes_is_refused():
    with pytest.raises(DataError, match="names no classes"):
        class_positions(Named(None))
