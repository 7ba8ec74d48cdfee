"""How well a model relabels: metrics, style, references that keep the figures honest, and what is wrong in silence."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
