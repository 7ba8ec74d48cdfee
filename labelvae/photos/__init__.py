"""Pictures as people have them: found, read, fitted into a model's frame, and put back where they came from."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
