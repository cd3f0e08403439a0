"""Decoding for vision-language models of transformers: one more argument of ``generate``.

``model.generate(**inputs, custom_generate=VisualContrastive(alpha=1.0, beta=0.1).on(inputs), max_new_tokens=64)``
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
