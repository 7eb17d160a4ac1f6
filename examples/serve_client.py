"""Send a clip to `cign serve`: python serve_client.py http://127.0.0.1:8000 clip.mp4."""

import json
import sys
from pathlib import Path
from urllib.request import Request, urlopen

url, clip, mark = sys.argv[1], Path(sys.argv[2]), "9b1c6f0e52"
part = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{clip.name}"\r\n\r\n'
body = part.encode() + clip.read_bytes() + f"\r\n--{mark}--\r\n".encode()
kind = {"Content-Type": f"multipart/form-data; boundary={mark}"}
for answer in json.load(urlopen(Request(f"{url}/predict", body, kind))):
    best = answer["modalities"]["audio_visual"][0]
    print(f"{answer['file']}: {best['label']} {best['probability']:.2f}")
