"""How alike items are by what is said of them: TF-IDF of names and attributes (scikit-learn)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from remedi_spark.maths.checks import FloatArray


def similarity(texts: Sequence[str]) -> FloatArray:
    """Return the cosine of the items' texts, words and pieces of words; shape (I, I), diagonal 0.

    An item without a text is like no other.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    if not any(text.strip() for text in texts):
        return np.zeros((len(texts), len(texts)))
    # Pieces of 3 to 5 letters meet plurals and abbreviations; every text with a letter has at least one.
    rows = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=1).fit_transform(texts)
    cosine = np.asarray((rows @ rows.T).todense(), dtype=np.float64)
    np.fill_diagonal(cosine, 0)
    return cosine
