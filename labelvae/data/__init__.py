"""Images to train on: data sets, folders of files of any depth, batches, and the changes put on them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
