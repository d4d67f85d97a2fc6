"""A mail server for tests: aiosmtpd, with faults on demand. One JSON object as its argument says how it behaves; it
prints `port N` and writes what happened to the file `out`, one JSON object a line, mails as Python's own parser reads
them. It ends when its standard input does.

tls: "none", "starttls" or "implicit", with cert and key; user and password: sign-in is wanted; port: 0 takes a free one;
greeting_delay, data_delay: seconds; replies: {"sender": [...], "recipient": {ADDRESS: [...]}, "data": [...]} are given in turn, then
mails are taken. A reply "drop" takes the mail, or not, and hangs up; "hang" never answers.
"""

import asyncio
import base64
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

ASKED = json.loads(sys.argv[1])
REPLIES = ASKED.get("replies", {})


def note(**what):
    with open(ASKED["out"], "a", encoding="utf-8") as out:
        out.write(json.dumps(what) + "\n")


def parsed(raw):
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    parts = [mail, *mail.walk()]
    of = lambda kind: next((p.get_content() for p in parts if p.get_content_type() == kind), None)
    defects = [str(d) for p in parts for d in p.defects]
    headers = [[k, str(v)] for k, v in mail.items()]
    return {"headers": headers, "text": of("text/plain"), "html": of("text/html"), "defects": defects}


async def reply(server, replies):
    said = replies.pop(0) if replies else None
    if said == "hang":
        await asyncio.sleep(3600)
    if said == "drop":
        server.transport.abort()
    return said


class Handler:
    async def handle_MAIL(self, server, session, envelope, address, options):
        note(kind="sender", address=address)
        said = await reply(server, REPLIES.get("sender", []))
        if said:
            return said
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        note(kind="recipient", address=address)
        said = await reply(server, REPLIES.get("recipient", {}).get(address, []))
        if said:
            return said
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        raw = envelope.original_content
        said = (REPLIES.get("data") or [None])[0]
        taken = said is None or said == "drop"
        user = session.auth_data.login.decode() if session.auth_data else None
        note(
            kind="mail" if taken else "not_taken",
            sender=envelope.mail_from,
            to=envelope.rcpt_tos,
            hello=session.host_name,
            encrypted=session.ssl is not None or ASKED["tls"] == "implicit",
            user=user,
            longest=max((len(line) for line in raw.split(b"\r\n")), default=0),
            bare=raw.replace(b"\r\n", b"").count(b"\n") + raw.replace(b"\r\n", b"").count(b"\r"),
            ascii=raw.isascii(),
            raw=base64.b64encode(raw).decode(),
            **parsed(raw),
        )
        await asyncio.sleep(ASKED.get("data_delay", 0))
        return await reply(server, REPLIES.get("data", [])) or "250 OK, taken"


def authenticator(server, session, envelope, mechanism, data):
    right = data.login == ASKED["user"].encode() and data.password == ASKED["password"].encode()
    note(kind="sign_in", right=right)
    return AuthResult(success=right, auth_data=data if right else None, handled=False, message=None if right else "535 5.7.8 no")


class Server(SMTP):
    open = 0

    async def _handle_client(self):
        Server.open += 1
        note(kind="connection", open=Server.open)
        try:
            await asyncio.sleep(ASKED.get("greeting_delay", 0))
            await super()._handle_client()
        finally:
            Server.open -= 1


def context():
    if ASKED["tls"] == "none":
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(ASKED["cert"], ASKED["key"])
    return made


async def main():
    tls, signs_in = context(), "user" in ASKED
    starttls = ASKED["tls"] == "starttls"
    options = {"hostname": "mail.test", "tls_context": tls if starttls else None, "auth_require_tls": starttls}
    if signs_in:
        options |= {"authenticator": authenticator, "auth_required": True}
    loop = asyncio.get_running_loop()
    factory = lambda: Server(Handler(), loop=loop, **options)
    server = await loop.create_server(factory, "127.0.0.1", ASKED.get("port", 0), ssl=None if starttls else tls)
    print("port", server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
