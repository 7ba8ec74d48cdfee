"""Normalizing flows whose layers see the label: Real NVP on images, and a small one on the codes of a model."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
