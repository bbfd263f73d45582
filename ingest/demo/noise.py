"""Randomness: one independent stream a theme, and smooth noise over the plane.

The noise is value noise on a hashed integer lattice with quintic easing, summed over octaves (Perlin 2002 for the
easing, SplitMix64 for the hash). It depends on position and seed only, so neighbours agree along shared edges.
"""

import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Ints", "fractal", "hashed", "stream", "warped"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ROW, _SEED = np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_MIX_1, _MIX_2, _STEP = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)


def stream(seed: int, theme: str) -> np.random.Generator:
    """The random generator of one theme: what another theme draws never shifts it."""
    return np.random.default_rng([seed, zlib.crc32(theme.encode())])


def hashed(x: Ints, y: Ints | int, seed: int) -> Floats:
    """Uniform numbers in [0, 1) that depend on two integers and the seed alone; same shape as `x`."""
    with np.errstate(over="ignore"):
        state = x.astype(np.uint64) * _STEP + np.asarray(y).astype(np.uint64) * _ROW + np.uint64(seed) * _SEED
        state = (state ^ (state >> np.uint64(30))) * _MIX_1
        state = (state ^ (state >> np.uint64(27))) * _MIX_2
        state ^= state >> np.uint64(31)
    return (state >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _smooth(xy: Floats, scale_m: float, seed: int) -> Floats:
    scaled = xy / scale_m
    corner = np.floor(scaled)
    part = scaled - corner
    ease = part**3 * (part * (part * 6 - 15) + 10)
    column, row = corner[..., 0].astype(np.int64), corner[..., 1].astype(np.int64)
    low = hashed(column, row, seed) * (1 - ease[..., 0]) + hashed(column + 1, row, seed) * ease[..., 0]
    high = hashed(column, row + 1, seed) * (1 - ease[..., 0]) + hashed(column + 1, row + 1, seed) * ease[..., 0]
    return 2 * (low * (1 - ease[..., 1]) + high * ease[..., 1]) - 1


def fractal(xy: Floats, scale_m: float, octaves: int, seed: int) -> Floats:
    """Noise in about [-1, 1] at positions (..., 2) in metres; each octave has half the scale and half the weight."""
    weights = 0.5 ** np.arange(octaves)
    layers = [weight * _smooth(xy, scale_m * weight, seed + 101 * k) for k, weight in enumerate(weights)]
    return np.sum(layers, axis=0) / weights.sum()


def warped(xy: Floats, amplitude_m: float, scale_m: float, octaves: int, seed: int) -> Floats:
    """Positions (..., 2) pushed about by a smooth noise field of the given amplitude, metres."""
    push = np.stack([fractal(xy, scale_m, octaves, seed), fractal(xy, scale_m, octaves, seed + 7919)], axis=-1)
    return xy + amplitude_m * push
