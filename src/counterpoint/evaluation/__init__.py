"""Tasks: what a model is good for, with the outcome of every example.

`evaluate` runs tasks on test sets, for models that embed and for models that answer in words. `tasks` has a file for
each task. The other files define what tasks share, and functions that need no task.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
