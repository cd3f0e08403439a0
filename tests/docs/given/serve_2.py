import threading
import time

import uvicorn

server = uvicorn.Server(uvicorn.Config(cp.serving.app("emoji.index"), port=8000, log_level="warning"))
threading.Thread(target=server.run, daemon=True).start()
while not server.started:
    time.sleep(0.1)
