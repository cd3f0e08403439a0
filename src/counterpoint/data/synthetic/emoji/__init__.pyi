from .world import Emoji as Emoji
