"""Tasks: what a model is good for, with the outcome of every example.

`evaluate` runs tasks on test sets; a task is a subclass of `Task` with ``name``, ``primary``, ``modalities`` and
``task(model, data, rows) -> Scores``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
