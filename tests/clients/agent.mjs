// An agent on the official TypeScript SDK. One step (a JSON object) per line of standard input, one answer per line of
// standard output: {"ok": what the SDK's user sees} or {"error": {name, code, message}}. The first line is {"ready": …}.
// Usage: PARAPH_TEST_CLIENTS=DIR agent.mjs SDK URL, where SDK is 1, 2, "2 auto" (2 asking for the newest revision first), or
// "2 2025-03-26" (2 speaking that revision alone);
// the agent's token in AGENT_TOKEN (absent for a direct run). Instead of a URL: {"command": …, "args": […]}, a server to start.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const [sdk, url] = process.argv.slice(2);
const [major, mode] = sdk.split(" ");
const packages = createRequire(`${process.env.PARAPH_TEST_CLIENTS}/`);
const { Client, StreamableHTTPClientTransport, StdioClientTransport } =
  major === "1"
    ? {
        ...packages("@modelcontextprotocol/sdk/client/index.js"),
        ...packages("@modelcontextprotocol/sdk/client/streamableHttp.js"),
        ...packages("@modelcontextprotocol/sdk/client/stdio.js"),
      }
    : { ...packages("@modelcontextprotocol/client"), ...packages("@modelcontextprotocol/client/stdio") };

const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);
const told = (error) => ({ error: { name: error.name ?? "Error", code: error.code ?? null, message: String(error.message ?? error) } });

const token = process.env.AGENT_TOKEN;
const headers = token ? { Authorization: `Bearer ${token}` } : {};
const revisions = !mode ? {} : mode === "auto" ? { versionNegotiation: { mode } } : { supportedProtocolVersions: [mode] };
let client, transport;
async function connect() {
  transport = url.startsWith("{")
    ? new StdioClientTransport({ ...JSON.parse(url), env: { PARAPH_AGENT_TOKEN: token } })
    : new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers } });
  client = new Client({ name: "typescript-agent", version: "1.0.0" }, { capabilities: {}, ...revisions });
  await client.connect(transport);
  return { server: client.getServerVersion(), capabilities: client.getServerCapabilities(), revision: transport.protocolVersion };
}
// What the SDK's transport hands on in answer to a batch: by then every request of it has its response.
function batch(messages) {
  const waiting = new Set(messages.flatMap(({ id, method }) => (id !== undefined && method ? [id] : [])));
  const before = transport.onmessage;
  return new Promise((done, failed) => {
    const answers = [];
    transport.onmessage = (message, extra) => {
      if (message.method || !waiting.delete(message.id)) return before(message, extra);
      answers.push(message);
      if (waiting.size) return;
      transport.onmessage = before;
      done(answers);
    };
    transport.send(messages).catch(failed);
  });
}
const callTool = (call, options) => (major === "1" ? client.callTool(call, undefined, options) : client.callTool(call, options));

async function step({ do: what, messages, name, arguments: args, uri, progress, seconds, stoppable }) {
  switch (what) {
    case "connect anew":
      await client.close();
      return connect();
    case "batch":
      return batch(messages);
    case "ping":
      return client.ping();
    case "tools":
      return client.listTools();
    case "prompts":
      return client.listPrompts();
    case "prompt":
      return client.getPrompt({ name, arguments: args });
    case "resources":
      return client.listResources();
    case "resource":
      return client.readResource({ uri });
    case "call": {
      const reports = [];
      const options = progress ? { onprogress: (report) => reports.push(report), resetTimeoutOnProgress: true } : {};
      if (seconds) options.timeout = seconds * 1000; // the SDK's own, 60 s unless said otherwise
      if (stoppable) {
        const leaving = new AbortController();
        options.signal = leaving.signal;
        reading.once("line", () => leaving.abort("the user pressed stop"));
      }
      const result = await callTool({ name, arguments: args }, options);
      return progress ? { ...result, reports } : result;
    }
    default:
      throw new Error(`unknown step ${what}`);
  }
}

const reading = createInterface({ input: process.stdin });
const lines = reading[Symbol.asyncIterator](); // from the start: lines that come while connecting are kept
try {
  say({ ready: await connect() });
} catch (error) {
  say(told(error));
  process.exit(1);
}
for await (const line of lines) {
  if (line === '"stop"') continue; // already heard by the call it stopped
  try {
    say({ ok: await step(JSON.parse(line)) });
  } catch (error) {
    say(told(error));
  }
}
await transport.terminateSession().catch(() => {});
await client.close();
