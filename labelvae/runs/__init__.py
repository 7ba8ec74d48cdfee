"""One run from data to pictures: its settings, presets, recipes, folder and comparison."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
