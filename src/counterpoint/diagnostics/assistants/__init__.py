"""Inside assistants: vision-language models that answer in words.

The measures are taken on the states of the language model, read by the public outputs of transformers.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
