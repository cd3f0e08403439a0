from .multilingual_prompting import LANGUAGES as LANGUAGES
from .multilingual_prompting import SETS as SETS
from .multilingual_prompting import in_languages as in_languages
from .multilingual_prompting import repeated as repeated
from .multilingual_prompting import variants as variants
from .reranking import CandidatePictures as CandidatePictures
from .reranking import Generator as Generator
from .reranking import draw as draw
