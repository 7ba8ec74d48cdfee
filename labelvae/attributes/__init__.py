"""Labels of several attributes, of numbers, and of both: what they are, and what a network sees and says of them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
