"""Strings and labels of a data set."""

import numpy as np
import pytest
import torch

from tests.threads import threads
from vtok.data.sources import Sample, SyntheticSource
from vtok.errors import DataError, PictureError
from vtok.eval.downstream.labelled_strings import check_labelled, read_strings
from vtok.tokenizers.linear import LinearTokenizer
from vtok.tokenizers.titok_vae import TitokVae


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """The tensors are small."""
    with threads(1):
        yield


class Pictures:
    """Samples, or errors in their place."""

    has_captions = False

    def __init__(self, samples, class_names=None, name="pictures"):
        self.samples, self.class_names, self.name = samples, class_names, name

    def __len__(self):
        return len(self.samples)

    def key(self, index):
        return str(index)

    def __getitem__(self, index):
        if isinstance(self.samples[index], PictureError):
            raise self.samples[index]
        return self.samples[index]


def plain(value, label, size=(16, 16)):
    return Sample(f"picture-{value}", np.full((*size, 3), value, np.uint8), label)


def read(samples, *, tokenizer=None, names=None, name="pictures", count=None, batch=2, whole=False):
    source = Pictures(samples, names, name)
    return read_strings(source, tokenizer or LinearTokenizer.tiny(), count=count, batch=batch, whole=whole)


def test_strings_stand_beside_their_labels_whatever_the_batch():
    source = SyntheticSource(7, (20, 24))
    tokenizer = LinearTokenizer.tiny()
    found = [read_strings(source, tokenizer, count=None, batch=batch, whole=False) for batch in (1, 3, 7)]
    for one in found:
        assert one.labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
        assert torch.equal(one.strings.ids, found[0].strings.ids)
        assert torch.equal(one.thumbnails, found[0].thumbnails)


def test_some_of_the_pictures_are_evenly_spaced():
    assert read([plain(i, i) for i in range(10)], count=3).labels.tolist() == [0, 3, 6]


def test_embeddings_come_in_the_order_that_is_asked_for():
    strings = read([plain(20 * i, i) for i in range(5)])
    tokenizer = LinearTokenizer.tiny()
    blocks = strings.embeddings(tokenizer, 8, "concatenated")
    all_of_them = torch.cat(list(blocks(torch.arange(5))))
    assert torch.equal(torch.cat(list(blocks(torch.tensor([4, 0, 2])))), all_of_them[[4, 0, 2]])


def test_latents_are_embedded_too():
    vae = TitokVae.tiny().eval()
    size = vae.spec.input_size
    strings = read([plain(60 * i, i, size) for i in range(4)], tokenizer=vae)
    blocks = strings.embeddings(vae, vae.spec.num_tokens, "mean")
    assert torch.cat(list(blocks(torch.tensor([3, 1])))).shape == (2, vae.spec.dim)


def test_thumbnails_are_the_same_crop_from_minus_one_to_one():
    strings = read([plain(0, 0), plain(255, 1, (30, 40))])
    assert strings.thumbnails.shape == (2, 192)
    torch.testing.assert_close(strings.thumbnails, torch.tensor([[-1.0], [1.0]]).expand(2, 192))


def test_whole_pictures_are_resized():
    left = np.zeros((16, 64, 3), np.uint8)
    left[:, :8] = 255  # outside the middle
    middle, whole = (read([Sample("a", left, 0)], whole=whole).thumbnails for whole in (False, True))
    assert float(middle.max()) == -1.0
    assert float(whole.max()) > 0.5


def test_broken_pictures_are_told_and_left_out():
    strings = read([plain(1, 0), PictureError("2.png: cut short"), plain(3, 1), PictureError("4.png:\n  cut short")])
    assert strings.labels.tolist() == [0, 1]
    assert strings.failures == ("2.png: cut short", "4.png: cut short")


def test_nothing_but_broken_pictures_is_an_error():
    with pytest.raises(DataError, match=r"no picture could be read; a\.png"):
        read([PictureError("a.png: cut short")])


@pytest.mark.parametrize("label", [None, -1])
def test_pictures_without_labels_are_refused_at_the_first(label):
    source = Pictures([PictureError("broken"), plain(1, label), plain(1, 0)])
    with pytest.raises(DataError, match="picture-1 has no label"):
        check_labelled(source)
    with pytest.raises(DataError, match="picture-1 has no label"):
        read([plain(0, 0), plain(1, label)])


def test_labels_beyond_the_names_are_refused():
    with pytest.raises(DataError, match="has the label 2, and 2 classes are named"):
        read([plain(0, 0), plain(1, 2)], names=("a", "b"))


class TestLabelsOfTheOther:
    def test_classes_are_matched_by_name(self):
        train = read([plain(0, 0), plain(1, 2)], names=("a", "b", "c"))
        valid = read([plain(0, 0), plain(1, 1)], names=("c", "a")).with_labels_of(train)
        assert (valid.labels.tolist(), valid.num_classes) == ([2, 0], 3)

    def test_classes_that_were_not_learnt_are_refused(self):
        train = read([plain(0, 0)], names=("a", "b"), name="train")
        with pytest.raises(DataError, match="valid: 1 of its classes are not among those of train, 'x'"):
            read([plain(0, 1)], names=("a", "x"), name="valid").with_labels_of(train)

    def test_without_names_numbers_are_taken_as_they_are(self):
        train = read([plain(0, 0), plain(1, 3)])
        assert read([plain(0, 2)]).with_labels_of(train).labels.tolist() == [2]
        assert train.num_classes == 4
        with pytest.raises(DataError, match="has the label 4, pictures has 4 classes"):
            read([plain(0, 4)]).with_labels_of(train)
