"""An agent on the official Python SDK, version 1 or 2, whichever this Python has. One step (a JSON object) per line of
standard input, one answer per line of standard output: {"ok": what the SDK's user sees} or {"error": {name, code,
message}}. The first line is {"ready": ...}. Usage: agent.py URL, or agent.py {"command": ..., "args": [...]} for a server
to start; the agent's token in AGENT_TOKEN (absent for a direct run)."""

import json
import logging
import os
import sys
import warnings
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version

import anyio
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

FIRST = version("mcp").startswith("1.")
if FIRST:
    import httpx
    from mcp import ClientSession
else:
    import httpx2 as httpx
    from mcp import Client

# What the SDK writes about broken connections is not what its user sees.
logging.disable()
warnings.simplefilter("ignore")


def say(line):
    print(json.dumps(line, ensure_ascii=False), flush=True)


def plain(result):
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


def told(error):
    inner = getattr(error, "error", None)
    return {"error": {"name": type(error).__name__, "code": getattr(inner, "code", None), "message": str(error)}}


@asynccontextmanager
async def connected(url, http):
    """The SDK's object that has the steps as methods, and what the server said of itself."""
    if url.startswith("{"):
        environment = {"PARAPH_AGENT_TOKEN": os.environ.get("AGENT_TOKEN", "")}
        transport = stdio_client(StdioServerParameters(**json.loads(url), env=environment))
    else:
        transport = streamable_http_client(url, http_client=http)
    if FIRST:
        async with transport as (reading, writing, *_), ClientSession(reading, writing) as session:
            hello = await session.initialize()
            yield session, {"server": plain(hello.serverInfo), "capabilities": plain(hello.capabilities), "revision": hello.protocolVersion}
    else:
        async with Client(transport) as client:
            yield client, {"server": plain(client.server_info), "capabilities": plain(client.server_capabilities), "revision": client.protocol_version}


async def perform(client, step):
    match step["do"]:
        case "ping":
            return await client.send_ping()
        case "tools":
            return await client.list_tools()
        case "prompts":
            return await client.list_prompts()
        case "prompt":
            return await client.get_prompt(step["name"], step.get("arguments"))
        case "resources":
            return await client.list_resources()
        case "resource":
            return await client.read_resource(step["uri"])
        case "call":
            seconds = step.get("seconds")  # None: no timeout, as the SDK's default is
            patience = timedelta(seconds=seconds) if FIRST and seconds else seconds
            return await client.call_tool(step["name"], step.get("arguments"), patience)
    raise ValueError(f"unknown step {step['do']}")


async def stoppable(client, step, lines):
    """The step in a task that the user's next line ends, the way a program with a stop button does it."""
    result = None
    async with anyio.create_task_group() as group:

        async def hear():
            await lines.receive()
            group.cancel_scope.cancel()

        group.start_soon(hear)
        result = await perform(client, step)
        group.cancel_scope.cancel()
    if result is None:
        raise InterruptedError("the user pressed stop")
    return result


async def read_lines(sink):
    async with sink:
        while line := await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            await sink.send(json.loads(line))


async def converse(client, lines):
    """Step by step; under which name the user hears of the next connection, if there is to be one."""
    async for step in lines:
        if step == "stop":
            continue  # the call it was to stop had ended
        if step["do"] == "connect anew":
            return "ok"
        try:
            say({"ok": plain(await (stoppable(client, step, lines) if step.get("stoppable") else perform(client, step)))})
        except Exception as error:  # the test reads what the SDK raised
            say(told(error))


async def main(url):
    token = os.environ.get("AGENT_TOKEN")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    limits = httpx.Timeout(30, read=300)
    sink, lines = anyio.create_memory_object_stream(10)
    async with httpx.AsyncClient(headers=headers, timeout=limits, trust_env="SSL_CERT_FILE" in os.environ) as http, anyio.create_task_group() as group:
        group.start_soon(read_lines, sink)
        said = "ready"
        while said:
            async with connected(url, http) as (client, hello):
                say({said: hello})
                said = await converse(client, lines)


anyio.run(main, sys.argv[1])
