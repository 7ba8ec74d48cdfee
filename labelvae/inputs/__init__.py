"""What public calls accept: checks of numbers and choices, images and labels in the forms that people have them, and
the names of classes.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
