"""Reads sentences inside a TensorFlow graph: one way for training and serving."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tidemill_trainer.recipes.runtime import tf

TEXT_BYTES_MAX = 16_384
"""What stands behind it in a text is not read."""
TOKENS_MAX = 512
TOKEN_CHARACTERS_MAX = 32
"""Of a longer word only the beginning counts."""
STEM_CHARACTERS = 5
"""A longer word also counts by its beginning, so that a rare form is known by its family."""
STEM = "~"
"""Stands behind a beginning; no word holds it."""
BEGIN, END = "<", ">"
"""Stand before and behind a text in its pairs; no token looks like them."""
_ALONE = r"([!?\p{So}\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}])"
_REST = r"[^\p{L}\p{M}\p{N}'!?\p{So}]+"
_OUTER_QUOTES = r" '+|'+ "


def read_ngrams(texts: Any) -> Any:
    """Ragged string[batch, (n-grams)] of string[batch]: the words of each text, then its pairs of neighbours,
    then the beginnings of its long words.

    Words are in lower case. Signs that carry a feeling, emoji, and letters of languages that put no spaces
    stand alone; everything else divides. What is not UTF-8 divides too: any bytes at all are read, and a text
    without a word has only the pair of its beginning and end.
    """
    cut = tf.strings.substr(texts, 0, TEXT_BYTES_MAX)
    clean = tf.strings.unicode_transcode(
        cut, "UTF-8", "UTF-8", errors="replace", replacement_char=0x20, replace_control_characters=True
    )
    lower = tf.strings.lower(clean, encoding="utf-8")
    apart = tf.strings.regex_replace(tf.strings.regex_replace(lower, "’", "'"), _ALONE, r" \1 ")
    spaced = " " + tf.strings.regex_replace(apart, _REST, " ") + " "
    words = tf.strings.split(tf.strings.regex_replace(spaced, _OUTER_QUOTES, " "))[:, :TOKENS_MAX]
    words = words.with_values(
        tf.strings.substr(words.values, 0, TOKEN_CHARACTERS_MAX, unit="UTF8_CHAR"),
    )
    pairs = tf.strings.ngrams(words, 2, separator=" ", pad_values=(BEGIN, END), padding_width=1)
    is_long = words.with_values(tf.strings.length(words.values, unit="UTF8_CHAR") > STEM_CHARACTERS)
    long = tf.ragged.boolean_mask(words, is_long)
    stems = long.with_values(tf.strings.substr(long.values, 0, STEM_CHARACTERS, unit="UTF8_CHAR") + STEM)
    return tf.concat([words, pairs, stems], axis=1)


def make_table(ngrams: list[bytes]) -> Any:
    """A table from each n-gram to its place, counted from 1; 0 for all others. Nobody's, it vanishes."""
    # With a name TensorFlow would keep it as long as the process lives: 20 MB for 100,000 n-grams.
    return tf.lookup.StaticHashTable(_content(ngrams), default_value=0, experimental_is_anonymous=True)


@contextmanager
def exported_table(ngrams: list[bytes]) -> Iterator[Any]:
    """The same table as it is written into a SavedModel; it is gone afterwards."""
    initializer = _content(ngrams)
    table = tf.lookup.StaticHashTable(initializer, default_value=0)
    # Names that an export writes down: TensorFlow makes them by chance and by a counter. The same content
    # must have the same name, and another content another: so the same model is exported as the same bytes.
    initializer._name = "ngrams"
    table._shared_name = "ngrams_" + hashlib.sha256(b"\n".join(ngrams)).hexdigest()[:32]
    try:
        yield table
    finally:
        tf.raw_ops.DestroyResourceOp(resource=table.resource_handle, ignore_lookup_error=True)


def _content(ngrams: list[bytes]) -> Any:
    places = tf.range(1, len(ngrams) + 1, dtype=tf.int32)
    return tf.lookup.KeyValueTensorInitializer(tf.constant(ngrams, tf.string), places)


def look_up(ngrams: Any, table: Any) -> Any:
    """int32[batch, longest] of ragged string[batch, (n-grams)]: places in the table, each once; 0: none."""
    places = ngrams.with_values(table.lookup(ngrams.values)).to_tensor(0)
    ordered = tf.sort(places, axis=1, direction="DESCENDING")
    again = tf.pad(ordered[:, 1:] == ordered[:, :-1], [[0, 0], [1, 0]])
    return tf.where(again, 0, ordered)
