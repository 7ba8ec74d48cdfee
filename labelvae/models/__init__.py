"""The networks: the conditional VAE, the classifier that guides or judges, the discriminator; how they are saved."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
