"""How errors speak of the class of a model: with "a" or "an"."""

from __future__ import annotations


def with_article(noun: str) -> str:
    """Return a noun after "a" or "an". A U sounds as in UNet.

    >>> with_article("ConditionalVAE"), with_article("AttributeClassifier"), with_article("UNet")
    ('a ConditionalVAE', 'an AttributeClassifier', 'a UNet')
    """
    return f"{'an' if noun[:1] in tuple('AEIOaeio') else 'a'} {noun}"
