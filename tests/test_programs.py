"""Programs at the page: curl as in the README, MCP, bytes instead of a file, refusals, passwords."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from gradio_client import Client
from PIL import Image

from app import Limits, build, serve
from assistant.desk import Desk
from assistant.errors import WeightsError
from panels.uploads import REFUSED
from tests.test_app import ROOT, WAIT, Served, close, raw, served  # noqa: F401

if TYPE_CHECKING:
    from assistant.inspector import Inspector

pytestmark = [pytest.mark.usefixtures("short_answers"), pytest.mark.filterwarnings("ignore")]


def data_address(file: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Whether two findings have the same numbers and words; how long they took differs."""
    return json.loads(json.dumps(found | {"timings": 0})) == json.loads(json.dumps(expected | {"timings": 0}))


def test_the_curl_lines_of_the_readme_give_the_numbers_of_the_api(
    served: Served,  # noqa: F811
    inspector: Inspector,
    cracked: Path,
    tmp_path: Path,
) -> None:
    if shutil.which("curl") is None or shutil.which("bash") is None:
        pytest.skip("no curl here")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (script,) = [body for body in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if "curl" in body]
    shutil.copy(cracked, tmp_path / "part.png")
    script = script.replace("http://127.0.0.1:7860", served.url.rstrip("/"))
    done = subprocess.run(["bash", "-ec", script], cwd=tmp_path, capture_output=True, text=True, timeout=WAIT)
    line = next(line for line in done.stdout.splitlines() if line.startswith("data: ["))
    finding, overlay = json.loads(line.removeprefix("data: "))
    assert same(finding, inspector.inspect(cracked).to_dict())
    (tmp_path / "overlay.png").write_bytes(httpx.get(overlay["url"], timeout=WAIT).content)
    assert Image.open(tmp_path / "overlay.png").size == (512, 512)


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        ("/etc/passwd", REFUSED), ("file:///etc/passwd", REFUSED), ("http://127.0.0.1:9/a.png", REFUSED),
        ("data:text/html;base64,AAAA", REFUSED), ("data:image/png;base64,%%%", "not base64"),
        ("data:image/svg+xml;base64,PHN2Zy8+", "JPEG, PNG"),
    ],
)  # fmt: skip
def test_paths_addresses_and_other_bytes_are_refused(served: Served, picture: str, sentence: str) -> None:  # noqa: F811
    looks = served.counting.looks
    assert sentence in raw(served.url, "inspect", picture)
    assert sentence in raw(served.url, "inspect", picture, "", [picture], None)
    assert served.counting.looks == looks


def test_language_models_find_one_tool(inspector: Inspector, cracked: Path, tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("mcp")
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "up"))
    page = build(Desk("embedded", lambda profile: inspector))
    url = serve(page, "127.0.0.1", None, Limits(mcp=True), block=False)

    async def visit() -> tuple[list[Any], Any, Any]:
        async with streamablehttp_client(f"{url.rstrip('/')}/gradio_api/mcp/") as (reads, writes, _):
            async with ClientSession(reads, writes) as session:
                await session.initialize()
                tools = (await session.list_tools()).tools
                good = await session.call_tool(tools[0].name, {"picture": data_address(cracked)})
                return tools, good, await session.call_tool(tools[0].name, {"picture": "/etc/passwd"})

    try:
        tools, good, bad = asyncio.run(visit())
    finally:
        close(page)
    assert [tool.name for tool in tools] == ["inspect"] and "something is wrong" in tools[0].description
    said = " ".join(part.text for part in good.content if part.type == "text")
    assert not good.isError and f"'score': {inspector.inspect(cracked).to_dict()['score']}" in said
    assert bad.isError and "root:" not in str(bad.content)


def test_without_the_password_there_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def loader(profile: str) -> Inspector:
        raise WeightsError("There is none.")

    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    page = build(Desk("embedded", loader), learning=False)
    limits = Limits("1mb", auth=lambda name, password: (name, password) == ("ann", "secret"))
    url = serve(page, "127.0.0.1", None, limits, block=False)
    try:
        assert httpx.get(f"{url.rstrip('/')}/config").status_code == 401
        assert httpx.post(f"{url.rstrip('/')}/gradio_api/upload", files={"files": ("a.png", b"x")}).status_code == 401
        assert Client(url, auth=("ann", "secret"), verbose=False).view_api(return_format="dict")
    finally:
        close(page)
