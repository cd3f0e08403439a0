from .tree import Synset as Synset
from .tree import similarities as similarities
from .world import Glosses as Glosses
