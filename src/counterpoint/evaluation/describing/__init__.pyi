from .differential import Differential as Differential
from .differential import second_pass as second_pass
from .sources import Describe as Describe
from .sources import Kept as Kept
from .sources import LanguageModel as LanguageModel
from .sources import from_grammar as from_grammar
