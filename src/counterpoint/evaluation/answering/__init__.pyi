from ._registry import ANSWERING as ANSWERING
from ._registry import DEFAULT_ANSWERING as DEFAULT_ANSWERING
from ._registry import create as create
from .base import AnsweringTask as AnsweringTask
from .base import Assistant as Assistant
from .base import Prompt as Prompt
from .base import Turn as Turn
from .running import evaluate_assistant as evaluate_assistant
