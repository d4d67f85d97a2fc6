"""An agent on the official Python SDK. One step (a JSON object) per line of standard input, one answer per line of
standard output: {"ok": what the SDK's user sees} or {"error": {name, code, message}}. The first line is {"ready": ...}.
Usage: agent.py URL, the agent's token in AGENT_TOKEN (absent for a direct run)."""

import json
import os
import sys

import anyio
import httpx
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client


def say(line):
    print(json.dumps(line, ensure_ascii=False), flush=True)


def plain(result):
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


def told(error):
    inner = getattr(error, "error", None)
    return {"error": {"name": type(error).__name__, "code": getattr(inner, "code", None), "message": str(error)}}


async def perform(session, step):
    match step["do"]:
        case "ping":
            return await session.send_ping()
        case "tools":
            return await session.list_tools()
        case "prompts":
            return await session.list_prompts()
        case "prompt":
            return await session.get_prompt(step["name"], step.get("arguments"))
        case "resources":
            return await session.list_resources()
        case "resource":
            return await session.read_resource(step["uri"])
        case "call":
            return await session.call_tool(step["name"], step.get("arguments"))
    raise ValueError(f"unknown step {step['do']}")


async def main(url):
    token = os.environ.get("AGENT_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    limits = httpx.Timeout(30, read=300)
    async with httpx.AsyncClient(headers=headers, timeout=limits, trust_env=False) as http:
        async with streamable_http_client(url, http_client=http) as (reading, writing, _):
            async with ClientSession(reading, writing) as session:
                hello = await session.initialize()
                ready = {"server": plain(hello.serverInfo), "capabilities": plain(hello.capabilities), "revision": hello.protocolVersion}
                say({"ready": ready})
                while line := await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
                    try:
                        say({"ok": plain(await perform(session, json.loads(line)))})
                    except Exception as error:  # the test reads what the SDK raised
                        say(told(error))


anyio.run(main, sys.argv[1])
