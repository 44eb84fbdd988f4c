"""What a string of tokens looks like, and what is refused."""

import json
import math
import subprocess
import sys
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtok.errors import ConfigError, LengthError
from vtok.tokenizers.spec import TokenSpec

NESTED = TokenSpec((4096,), 64, tuple(range(1, 65)), (64, 64), (64, 64))
FIXED = TokenSpec((1024,), 256, (256,), (256, 256), (256, 256), grid=(16, 16))
SCALES = TokenSpec((4096,), 14, (1, 5, 14), (64, 64), (64, 48), scales=((1, 1), (2, 2), (3, 3)))


def made(**changes: Any) -> TokenSpec:
    values: dict[str, Any] = {
        "codebook_sizes": (16,),
        "max_tokens": 4,
        "prefix_lengths": (1, 2, 3, 4),
        "input_size": (8, 8),
        "output_size": (8, 8),
    }
    return TokenSpec(**(values | changes))


@st.composite
def specs(draw: st.DrawFn) -> TokenSpec:
    lengths = sorted(draw(st.sets(st.integers(1, 50), min_size=1, max_size=10)))
    sizes = draw(st.lists(st.integers(2, 2**62), min_size=1, max_size=3))
    side = st.tuples(st.integers(1, 512), st.integers(1, 512))
    return made(
        codebook_sizes=tuple(sizes),
        max_tokens=lengths[-1],
        prefix_lengths=tuple(lengths),
        input_size=draw(side),
        output_size=draw(side),
    )


@given(spec=specs())
@settings(deadline=None)
def test_a_spec_goes_through_json(spec: TokenSpec) -> None:
    assert TokenSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


@pytest.mark.parametrize("spec", [NESTED, FIXED, SCALES])
def test_grids_and_scales_go_through_json(spec: TokenSpec) -> None:
    again = TokenSpec.from_json(json.loads(json.dumps(spec.to_json())))
    assert again == spec
    assert hash(again) == hash(spec)


@pytest.mark.parametrize(
    ("spec", "nested"), [(NESTED, True), (FIXED, False), (SCALES, False), (made(max_tokens=1, prefix_lengths=(1,)), True)]
)
def test_nested_means_that_every_prefix_decodes(spec: TokenSpec, nested: bool) -> None:
    assert spec.nested is nested


@pytest.mark.parametrize(
    ("sizes", "bits", "stored"),
    [
        ((2,), 1.0, 1),
        ((4096,), 12.0, 12),
        ((3,), math.log2(3), 2),
        ((1000, 3), math.log2(3000), 12),
        ((5, 5), math.log2(25), 6),
        ((2**62,), 62.0, 62),
    ],
)
def test_bits_of_a_token(sizes: tuple[int, ...], bits: float, stored: int) -> None:
    spec = made(codebook_sizes=sizes)
    assert spec.bits_per_token == pytest.approx(bits)
    assert spec.stored_bits == stored


@given(spec=specs(), num_tokens=st.integers(-3, 60))
@settings(deadline=None)
def test_a_length_is_checked_and_rounded_down(spec: TokenSpec, num_tokens: int) -> None:
    rounded = spec.round_down(num_tokens)
    assert rounded == max([n for n in spec.prefix_lengths if n <= num_tokens], default=0)
    if rounded == num_tokens and num_tokens > 0:
        assert spec.check_length(num_tokens) == num_tokens
    else:
        with pytest.raises(LengthError, match=f"{num_tokens} tokens do not decode here"):
            spec.check_length(num_tokens)


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        (NESTED, "1 to 64"),
        (FIXED, "256; prefixes decode with the families flextok, linear, nested, one_d_piece"),
        (SCALES, "1, 5, 14"),
        (made(max_tokens=40, prefix_lengths=tuple(range(2, 41, 2))), "2, 4, 6, 8, 10, 12, ..., 40"),
    ],
)
def test_the_lengths_that_decode_are_named_in_short(spec: TokenSpec, allowed: str) -> None:
    with pytest.raises(LengthError) as error:
        spec.check_length(1000)
    assert str(error.value) == f"1000 tokens do not decode here; lengths that do: {allowed}"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codebook_sizes": ()}, "codebook sizes"),
        ({"codebook_sizes": (16, 1)}, "codebook sizes"),
        ({"codebook_sizes": (2**62 + 1,)}, "codebook sizes"),
        ({"prefix_lengths": ()}, "prefix lengths"),
        ({"prefix_lengths": (1, 2, 3)}, "must rise to max_tokens = 4"),
        ({"prefix_lengths": (1, 2, 2, 4)}, "prefix lengths"),
        ({"prefix_lengths": (4, 3)}, "prefix lengths"),
        ({"prefix_lengths": (0, 4)}, "prefix lengths"),
        ({"max_tokens": 5}, "must rise to max_tokens = 5"),
        ({"max_tokens": 0, "prefix_lengths": (0,)}, "prefix lengths"),
        ({"input_size": (0, 8)}, "sizes must be positive"),
        ({"output_size": (8, -8)}, "sizes must be positive"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        made(**changes)


@pytest.mark.parametrize("name", ["codebook_sizes", "max_tokens", "prefix_lengths", "input_size", "output_size"])
def test_a_missing_key_is_named(name: str) -> None:
    values = made().to_json()
    del values[name]
    with pytest.raises(ConfigError, match=name):
        TokenSpec.from_json(values)


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(ConfigError, match="unknown key in a token spec: depth, width"):
        TokenSpec.from_json(made().to_json() | {"width": 3, "depth": 1})


@pytest.mark.parametrize(
    "changes",
    [
        {"codebook_sizes": 16},
        {"codebook_sizes": "16"},
        {"codebook_sizes": ["16"]},
        {"codebook_sizes": [16.5]},
        {"codebook_sizes": None},
        {"max_tokens": "4"},
        {"max_tokens": 4.0},
        {"max_tokens": None},
        {"prefix_lengths": 4},
        {"prefix_lengths": [[1], [4]]},
        {"prefix_lengths": [1.5, 4]},
        {"input_size": 8},
        {"input_size": [8]},
        {"input_size": [8, 8, 8]},
        {"input_size": "88"},
        {"output_size": [8, None]},
        {"grid": 4},
        {"grid": "ab"},
        {"grid": [2]},
        {"scales": [1, 3]},
        {"scales": "ab"},
    ],
    ids=str,
)
def test_values_of_a_wrong_kind_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        TokenSpec.from_json(made().to_json() | changes)


@pytest.mark.parametrize("changes", [{"grid": (0, 4)}, {"grid": (-2, -2)}, {"scales": ((1, 1), (2, 2))}])
def test_a_grid_or_scales_that_cannot_hold_the_string_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        made(**changes)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        NESTED.max_tokens = 3  # type: ignore[misc]


def test_specs_need_no_torch() -> None:
    code = "import sys, vtok.tokenizers.spec; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
