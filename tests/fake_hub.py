"""A model hub on this machine, as far as publishing and fetching a repository needs it; the library's client talks."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants

COMMIT = "a" * 40


class Hub:
    """What has been published.

    Attributes:
        repositories: name -> {file: bytes}.
        private: name -> whether nobody else may see it.
        asked: (method, path) of every request.
        token: the only one that may write.
    """

    def __init__(self, token: str) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.asked: list[tuple[str, str]] = []
        self.token = token


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""

    def do_POST(self) -> None:  # noqa: N802
        path = self._path()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if path == "/api/validate-yaml":
            return self._say({"errors": [], "warnings": []})
        if self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self._say({"error": "Invalid username or password."}, 401)
        if path == "/api/repos/create":
            values = json.loads(body)
            name = "/".join(filter(None, (values.get("organization"), values["name"])))
            self.hub.repositories.setdefault(name, {})
            self.hub.private[name] = values.get("visibility") == "private" or bool(values.get("private"))
            return self._say({"url": f"{self._own()}/{name}", "name": name})
        found = re.fullmatch(r"/api/models/(.+)/(preupload|commit)/main", path)
        if not found or found[1] not in self.hub.repositories:
            return self._missing()
        if found[2] == "preupload":
            files = [{"path": file["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None}
                     for file in json.loads(body)["files"]]  # fmt: skip
            return self._say({"files": files})
        for line in filter(None, body.splitlines()):
            entry = json.loads(line)
            if entry["key"] == "file":
                value = entry["value"]
                assert value["encoding"] == "base64"
                self.hub.repositories[found[1]][value["path"]] = base64.b64decode(value["content"])
        self._say({"success": True, "commitOid": COMMIT, "commitUrl": f"{self._own()}/{found[1]}/commit/{COMMIT}"})

    def do_GET(self) -> None:  # noqa: N802
        path = self._path()
        if found := re.fullmatch(r"/api/models/(.+?)(?:/revision/[^/]+)?", path):
            if files := self.hub.repositories.get(found[1]):
                siblings = [{"rfilename": name} for name in files]
                return self._say({"id": found[1], "modelId": found[1], "sha": COMMIT, "siblings": siblings})
            if (tree := re.fullmatch(r"(.+)/tree/[^/]+", found[1])) and tree[1] in self.hub.repositories:
                files = self.hub.repositories[tree[1]]
                return self._say([
                    {"type": "file", "path": name, "size": len(data), "oid": _tag(data)} for name, data in files.items()
                ])  # fmt: skip
        if found := re.fullmatch(r"/(.+)/resolve/[^/]+/(.+)", path):
            data = self.hub.repositories.get(found[1], {}).get(found[2])
            if data is not None:
                more = {"ETag": f'"{_tag(data)}"', "X-Repo-Commit": COMMIT, "Content-Type": "application/octet-stream"}
                return self._send(200, data, more)
        self._missing()

    do_HEAD = do_GET

    def _path(self) -> str:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append((self.command, path))
        return path

    def _own(self) -> str:
        return f"http://{self.headers['Host']}"

    def _missing(self) -> None:
        self._send(404, b'{"error": "Repository not found"}', {"X-Error-Code": "RepoNotFound"})

    def _say(self, values: Any, status: int = 200) -> None:
        self._send(status, json.dumps(values).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def _tag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def fake_hub(monkeypatch: pytest.MonkeyPatch, cache: object, token: str = "hf_test") -> Iterator[Hub]:
    """A hub that the library's client uses for as long as this lasts, with a token and a cache of its own."""
    hub = Hub(token)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
