"""What the command line was given, and where results go."""

from pathlib import Path

import pytest

from vtok.data import expand_inputs, output_paths
from vtok.data.files import expand_pattern, find_files
from vtok.errors import DataError

JPG = frozenset({".jpg"})


@pytest.fixture
def photos(tmp_path, monkeypatch) -> Path:
    for name in ("a/x.jpg", "a/b/y.JPG", "a/b/notes.txt", "a/.hidden/z.jpg", "a/.z.jpg", "c/x.jpg", "odd[1].jpg", "readme.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(paths) -> list[str]:
    return [path.as_posix() for path in paths]


@pytest.mark.usefixtures("photos")
class TestExpandInputs:
    def test_a_folder_gives_its_pictures_at_any_depth_but_no_hidden_ones(self):
        assert names(expand_inputs(["a"], JPG)) == ["a/b/y.JPG", "a/x.jpg"]

    def test_a_named_file_is_taken_whatever_its_extension(self):
        assert names(expand_inputs(["readme.txt", "a/.z.jpg"], JPG)) == ["a/.z.jpg", "readme.txt"]

    def test_a_pattern_gives_files_and_folders_that_match(self):
        assert names(expand_inputs(["*/x.jpg"], JPG)) == ["a/x.jpg", "c/x.jpg"]
        assert names(expand_inputs(["a/**/*"], JPG)) == ["a/b/y.JPG", "a/x.jpg"]
        assert names(expand_inputs(["[ac]"], JPG)) == ["a/b/y.JPG", "a/x.jpg", "c/x.jpg"]

    def test_a_file_whose_name_looks_like_a_pattern_is_found(self):
        assert names(expand_inputs(["odd[1].jpg"], JPG)) == ["odd[1].jpg"]

    def test_each_file_comes_once_and_in_order(self, photos):
        assert names(expand_inputs(["c", "a/../a/x.jpg", "a", str(photos / "c/x.jpg")], JPG)) == ["a/b/y.JPG", "a/../a/x.jpg", "c/x.jpg"]

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ("none.jpg", "none.jpg: no such file"),
            ("*.webp", r"\*\.webp: the pattern matches no file"),
            ("~nobody-at-all/x", "no such file"),
        ],
    )
    def test_what_matches_nothing_is_named(self, given, words):
        with pytest.raises(DataError, match=words):
            expand_inputs(["a", given], JPG)

    def test_a_folder_without_pictures_is_named_with_what_was_looked_for(self):
        with pytest.raises(DataError, match=r"c: the folder has no file with an extension of \.png"):
            expand_inputs(["c"], frozenset({".png"}))

    def test_lack_of_permission_is_named(self, monkeypatch):
        def refuse(*_args, **_options):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "stat", refuse)
        with pytest.raises(DataError, match=r"x\.jpg: cannot be looked at"):
            expand_inputs(["x.jpg"], JPG)

    def test_linked_folders_are_searched_and_circles_end(self, photos):
        (photos / "a" / "linked").symlink_to(photos / "c")
        (photos / "a" / "circle").symlink_to(photos / "a")
        assert names(expand_inputs(["a"], JPG)) == ["a/b/y.JPG", "a/linked/x.jpg", "a/x.jpg"]


@pytest.mark.usefixtures("photos")
class TestOutputPaths:
    def outputs(self, inputs: list[str]) -> dict[str, str]:
        pairs = output_paths(expand_inputs(inputs, JPG), inputs, Path("out"), ".vtok")
        return {file.as_posix(): output.as_posix() for file, output in pairs.items()}

    def test_folders_keep_their_inner_structure(self):
        assert self.outputs(["a"]) == {"a/x.jpg": "out/x.vtok", "a/b/y.JPG": "out/b/y.vtok"}

    def test_single_files_keep_their_stem_alone(self):
        assert self.outputs(["a/b/y.JPG", "readme.txt"]) == {"a/b/y.JPG": "out/y.vtok", "readme.txt": "out/readme.vtok"}

    def test_a_pattern_counts_as_the_folder_before_it(self):
        assert self.outputs(["a/**/*"]) == {"a/x.jpg": "out/x.vtok", "a/b/y.JPG": "out/b/y.vtok"}
        assert self.outputs(["*/x.jpg"]) == {"a/x.jpg": "out/a/x.vtok", "c/x.jpg": "out/c/x.vtok"}

    def test_a_file_named_beside_its_folder_keeps_its_stem_alone(self):
        assert self.outputs(["a/b/y.JPG", "a"]) == {"a/x.jpg": "out/x.vtok", "a/b/y.JPG": "out/y.vtok"}

    def test_of_folders_within_one_another_the_outer_counts(self):
        assert self.outputs(["a/b", "a"]) == {"a/x.jpg": "out/x.vtok", "a/b/y.JPG": "out/b/y.vtok"}

    def test_two_files_for_one_output_are_both_named(self):
        with pytest.raises(DataError, match=r"a/x\.jpg and c/x\.jpg would both write out/x\.vtok"):
            self.outputs(["a", "c"])

    def test_an_output_never_overwrites_an_input(self):
        with pytest.raises(DataError, match="would overwrite the input"):
            output_paths([Path("a/x.jpg")], ["a/x.jpg"], Path("a"), ".jpg")


class TestPatterns:
    def test_number_ranges_and_lists_in_braces_are_expanded(self, tmp_path):
        for name in ("s-008.tar", "s-009.tar", "s-010.tar", "t-1.tar", "t-2.tar"):
            (tmp_path / name).touch()
        assert [p.name for p in expand_pattern(f"{tmp_path}/s-{{008..010}}.tar")] == ["s-008.tar", "s-009.tar", "s-010.tar"]
        assert [p.name for p in expand_pattern(f"{tmp_path}/{{s-*,t-{{1..2}}}}.tar")] == [
            "s-008.tar",
            "s-009.tar",
            "s-010.tar",
            "t-1.tar",
            "t-2.tar",
        ]

    def test_a_missing_shard_of_a_range_is_named(self, tmp_path):
        (tmp_path / "s-0.tar").touch()
        with pytest.raises(DataError, match=r"s-1\.tar: no such file"):
            expand_pattern(f"{tmp_path}/s-{{0..1}}.tar")

    @pytest.mark.parametrize("braces", ["{0..99999999999}", "{0..999}{0..9999}"])
    def test_braces_that_explode_are_refused(self, braces):
        with pytest.raises(DataError, match="use a wildcard"):
            expand_pattern(f"s-{braces}.tar")

    def test_a_folder_that_cannot_be_listed_is_an_error_and_not_empty(self, tmp_path):
        with pytest.raises(DataError, match="cannot be listed"):
            find_files(tmp_path / "none", JPG)


def test_two_stars_follow_each_folder_only_once(photos):
    (photos / "a" / "round").symlink_to(photos / "a", target_is_directory=True)
    (photos / "a" / "again").symlink_to(photos / "a", target_is_directory=True)
    (photos / "a" / "elsewhere").symlink_to(photos / "c", target_is_directory=True)
    assert names(expand_pattern("a/**/x.jpg")) == ["a/elsewhere/x.jpg", "a/x.jpg"]
    assert names(expand_pattern("**/b/*")) == ["a/b/notes.txt", "a/b/y.JPG"]
    assert names(expand_pattern("a/**")) == ["a"]
