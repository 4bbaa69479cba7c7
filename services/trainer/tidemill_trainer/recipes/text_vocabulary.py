"""The n-grams that a text model knows: grown with the data, packed as an array."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

NGRAMS_MAX = 500_000
"""A full vocabulary stays as it is. Ten thousand film reviews of a sentence have 140,000 n-grams."""
_END = b"\n"


def grow(known: Sequence[bytes], texts: Iterable[Sequence[bytes]]) -> list[bytes]:
    """The known n-grams, each where it was, and behind them the new ones, the most frequent first.

    texts: the n-grams of each text. All are taken, pairs of words too that stand in one text alone: in rounds
    of a few hundred samples a pair's second text often comes later.
    """
    counts = Counter(ngram for text in texts for ngram in set(text))
    old = set(known)
    new = sorted((-count, ngram) for ngram, count in counts.items() if ngram not in old)
    return [*known, *(ngram for _, ngram in new[: max(0, NGRAMS_MAX - len(known))])]


def first_weights(
    ngrams: Sequence[bytes],
    texts: Iterable[Sequence[bytes]],
    classes: npt.NDArray[np.int64],
    class_count: int,
) -> npt.NDArray[np.float32]:
    """float32[n-grams, classes]: how much each n-gram speaks for each class, where training begins.

    Its logarithmic share of the class' n-grams, smoothed by one, less the mean over the classes: naive Bayes
    as a beginning (Wang & Manning, "Baselines and Bigrams", 2012). Film reviews gain 0.02 over one at zero.
    """
    places = {ngram: place for place, ngram in enumerate(ngrams)}
    counts = np.ones((len(ngrams), class_count))
    for text, class_ in zip(texts, classes.tolist(), strict=True):
        known = [places[ngram] for ngram in set(text) if ngram in places]
        counts[known, class_] += 1
    shares = np.log(counts / counts.sum(axis=0))
    centred: npt.NDArray[np.float32] = (shares - shares.mean(axis=1, keepdims=True)).astype(np.float32)
    return centred


def pack(ngrams: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    """uint8[bytes]: one n-gram a line. Not fixed-width text: the longest word would widen every row."""
    return np.frombuffer(b"".join(ngram + _END for ngram in ngrams), np.uint8).copy()


def unpack(packed: npt.NDArray[np.uint8]) -> list[bytes]:
    return packed.tobytes().split(_END)[:-1]
