"""A small endpoint for the ranker: POST {"query": …, "titles": [ … ]} and get the scores.

    python scripts/serve.py --model models:/search-ranking@champion --port 8000

It prints the port it listens on. What a load balancer asks of it, `GET /health`, it answers with 200.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))
os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{ROOT / 'mlflow.db'}")

import mlflow
import pandas as pd


def handler(model: mlflow.pyfunc.PyFuncModel) -> type[BaseHTTPRequestHandler]:
    class Endpoint(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer({"status": "ok"})

        def do_POST(self) -> None:
            try:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                rows = pd.DataFrame({"query": asked["query"], "product_title": asked["titles"]})
            except (ValueError, KeyError, TypeError):
                self.answer({"error": 'expected {"query": …, "titles": [ … ]}'}, 400)
                return
            self.answer({"scores": [round(float(score), 3) for score in model.predict(rows)]})

        def answer(self, document: dict, status: int = 200) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    return Endpoint


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the ranker.")
    parser.add_argument("--model", default="models:/search-ranking@champion")
    parser.add_argument("--port", type=int, default=8000, help="0 for any free one")
    given = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", given.port), handler(mlflow.pyfunc.load_model(given.model)))
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
