from .embedding import embed_videos as embed_videos
