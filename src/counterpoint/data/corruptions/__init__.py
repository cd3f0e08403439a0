"""Examples made worse: by each modality's own faults at three strengths, the same in every run."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
