"""Every kind of quantizer that a recipe may name, small, of a string of four latents."""

from typing import Any

TABLE = {"kind": "vq", "dim": 4, "codebook_size": 16}
SPHERE = TABLE | {"kind": "spherical_vq"}
KINDS: dict[str, dict[str, Any]] = {
    "vq": TABLE | {"num_tokens": 4},
    "vq by rotation": TABLE | {"num_tokens": 4, "estimator": "rotation", "entropy": {}},
    "a table each": TABLE | {"num_tokens": 4, "shared": False},
    "spherical_vq": SPHERE | {"num_tokens": 4},
    "simvq": TABLE | {"kind": "simvq", "num_tokens": 4},
    "ibq": TABLE | {"kind": "ibq", "num_tokens": 4},
    "fsq": {"kind": "fsq", "num_tokens": 4, "levels": [4, 4, 3]},
    "symmetric_fsq": {"kind": "symmetric_fsq", "num_tokens": 4, "levels": [2, 5]},
    "lfq": {"kind": "lfq", "num_tokens": 4, "dim": 4},
    "bsq": {"kind": "bsq", "num_tokens": 4, "dim": 4, "sub_bits": [2, 2]},
    "multi_codebook": {"kind": "multi_codebook", "num_tokens": 4, "dim": 4, "codebook_size": 16},
    "residual": {"kind": "residual", "num_tokens": 4, "stages": [TABLE, TABLE]},
    "residual, shared": {"kind": "residual", "num_tokens": 4, "stages": [TABLE], "num_stages": 2},
    "factorized": {"kind": "factorized", "num_tokens": 4, "branches": [SPHERE, SPHERE]},
    "factorized, mixed": {"kind": "factorized", "num_tokens": 4, "branches": [TABLE, {"kind": "fsq", "levels": [3, 3]}]},
    "shared_index": {"kind": "shared_index", "num_tokens": 4, "widths": [3, 2], "codebook_size": 16},
    "cascade": {"kind": "cascade", "num_latents": 4, "dim": 4, "codebook_size": 16},
    "multiscale": {"kind": "multiscale", "scales": [1, 2, 4], "part": TABLE, "num_convolutions": 2},
    "multiscale_stagewise": {"kind": "multiscale_stagewise", "scales": [1, 2, 4], "part": SPHERE},
    "library": {"kind": "library", "num_tokens": 4, "name": "ResidualFSQ", "dim": 4, "options": {"levels": [5, 3]}},
}
