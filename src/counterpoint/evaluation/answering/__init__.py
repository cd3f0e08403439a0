"""Tasks for models that answer in words: questions, captions, ratings, with the outcome of every example.

`evaluate_assistant` runs tasks on test sets; a task is any object with ``name``, ``primary`` and
``task(assistant, data, rows, seed=…) -> Scores``.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
