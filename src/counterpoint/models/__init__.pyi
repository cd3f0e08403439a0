from ._kind import ModelLoader as ModelLoader
from ._load import KINDS as KINDS
from ._load import kind_of as kind_of
from ._load import load as load
from ._load import run_of as run_of
from ._load import towers_of as towers_of
from ._pretrained import Pretrained as Pretrained
from ._stated import ModelManifest as ModelManifest
