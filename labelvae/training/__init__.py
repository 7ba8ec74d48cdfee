"""Lightning tasks that pretrain a classifier and train a conditional VAE, with their callbacks and loggers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
