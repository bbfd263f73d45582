"""The Session Initiation Protocol (RFC 3261), as far as devices register and send messages by it.

Read are requests and answers with their headers and bodies; written are answers and requests. A device proves itself by
a digest (RFC 2617, MD5, which GB/T 28181 prescribes) over a nonce that carries its own time and seal, so that nothing
has to be kept between the challenge and its answer.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field

from ingest.codecs.messages import Cut, FrameError

__all__ = ["Sip", "challenge", "nonce", "parse", "proves", "reply", "request", "split"]

_LONGEST_HEAD, _LONGEST_BODY = 16_384, 1_048_576
_SHORT = {
    "v": "via",
    "f": "from",
    "t": "to",
    "i": "call-id",
    "l": "content-length",
    "c": "content-type",
    "m": "contact",
}
_PARAMETER = re.compile(r'([a-zA-Z]+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')
_USER = re.compile(r"sips?:([0-9A-Za-z._-]{1,40})@")
_ECHOED = ("via", "from", "to", "call-id", "cseq")
_NAMES = {"via": "Via", "from": "From", "to": "To", "call-id": "Call-ID", "cseq": "CSeq"}


@dataclass(frozen=True, slots=True)
class Sip:
    """A message. `method` is that of a request, or of the request that an answer with `status` is for.

    `headers` has each header by its long name in small letters, all its values in order.
    """

    method: str
    uri: str
    status: int | None
    headers: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    body: bytes = b""

    def first(self, name: str) -> str:
        """The first value of a header; empty where there is none."""
        return self.headers.get(name, [""])[0]

    @property
    def user(self) -> str:
        """The code of the device that sends it."""
        found = _USER.search(self.first("from"))
        return found.group(1) if found else ""


def split(buffer: bytes) -> Cut:
    """Messages of a stream, by the length that their heads tell."""
    messages: list[bytes] = []
    at = 0
    while at < len(buffer):
        if buffer.startswith(b"\r\n", at):  # keeps the connection open (RFC 5626)
            at += 2
            continue
        end = buffer.find(b"\r\n\r\n", at)
        if end < 0:
            if len(buffer) - at > _LONGEST_HEAD:
                messages.append(buffer[at:])
                at = len(buffer)
            break
        length = re.search(
            rb"(?:^|\r\n)(?:content-length|l)\s*:\s*(\d{1,7})\s*(?:\r\n|$)", buffer[at:end], re.IGNORECASE
        )
        size = int(length.group(1)) if length else 0
        if end + 4 + size > len(buffer):
            if size > _LONGEST_BODY:
                messages.append(buffer[at:])
                at = len(buffer)
            break
        messages.append(buffer[at : end + 4 + size])
        at = end + 4 + size
    return Cut(messages, at)


def parse(message: bytes) -> Sip:
    """Read a message. Raises FrameError."""
    head, blank, body = message.partition(b"\r\n\r\n")
    if not blank:
        raise FrameError("its head does not end.")
    if len(head) > _LONGEST_HEAD:
        raise FrameError("its head is too long.")
    try:
        first, *lines = head.decode("utf-8").split("\r\n")
    except UnicodeDecodeError:
        raise FrameError("its head is not in UTF-8.") from None
    headers: dict[str, list[str]] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise FrameError(f"its head has {line[:40]!r}.")
        name = name.strip().lower()
        headers.setdefault(_SHORT.get(name, name), []).append(value.strip())
    length = headers.get("content-length", [""])[0]
    if length.isascii() and length.isdigit():
        if len(body) < int(length[:9]):
            raise FrameError(f"it says that its body has {length[:9]} bytes, and it has {len(body)}.")
        body = body[: int(length[:9])]
    words = first.split(" ", 2)
    if len(words) == 3 and words[0] == "SIP/2.0" and words[1].isascii() and words[1].isdigit():
        method = headers.get("cseq", [""])[0].rpartition(" ")[2]
        return Sip(method, "", int(words[1][:3]), headers, body)
    if len(words) != 3 or words[2] != "SIP/2.0":
        raise FrameError(f"it begins with {first[:40]!r}.")
    return Sip(words[0], words[1], None, headers, body)


def reply(asked: Sip, status: int, phrase: str, *more: str) -> bytes:
    """The answer to a request: its own headers back, and `more` lines."""
    lines = [f"SIP/2.0 {status} {phrase}"]
    for name in _ECHOED:
        for value in asked.headers.get(name, []):
            tag = ";tag=twin" if name == "to" and ";tag=" not in value else ""
            lines.append(f"{_NAMES[name]}: {value}{tag}")
    return "\r\n".join([*lines, *more, "Content-Length: 0", "", ""]).encode()


def request(
    method: str,
    *,
    to: str,
    sender: str,
    host: str,
    call: str,
    number: int,
    body: bytes = b"",
    more: tuple[str, ...] = (),
    transport: str = "UDP",
) -> bytes:
    """A request to the device `to` from `sender`, which is reached at `host` (address and port)."""
    lines = [
        f"{method} sip:{to}@{host} SIP/2.0",
        f"Via: SIP/2.0/{transport} {host};rport;branch=z9hG4bK{call}{number}",
        f"From: <sip:{sender}@{host}>;tag={call}",
        f"To: <sip:{to}@{host}>",
        f"Call-ID: {call}",
        f"CSeq: {number} {method}",
        "Max-Forwards: 70",
        *more,
    ]
    if body:
        lines.append("Content-Type: Application/MANSCDP+xml")
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def nonce(device: str, time_s: int, seal: bytes) -> str:
    """A nonce for a device, good for those who hold the seal."""
    stamp = f"{time_s:x}"
    return f"{stamp}.{hmac.new(seal, f'{device} {stamp}'.encode(), hashlib.sha256).hexdigest()[:24]}"


def challenge(realm: str, fresh: str) -> str:
    """The header that asks a device to prove itself."""
    return f'WWW-Authenticate: Digest realm="{realm}", nonce="{fresh}", algorithm=MD5'


def proves(asked: Sip, password: str, time_s: int, seal: bytes, lasts_s: int = 300) -> bool:
    """Whether the Authorization of a request shows that its sender knows the password, by a nonce of ours."""
    said = {name.lower(): quoted or bare for name, quoted, bare in _PARAMETER.findall(asked.first("authorization"))}
    stamp = said.get("nonce", "").partition(".")[0]
    if not re.fullmatch(r"[0-9a-f]{1,12}", stamp) or not 0 <= time_s - int(stamp, 16) <= lasts_s:
        return False
    if not hmac.compare_digest(nonce(asked.user, int(stamp, 16), seal), said["nonce"]):
        return False
    if said.get("username") != asked.user:
        return False
    expected = digest(said, asked.method, password)
    return hmac.compare_digest(expected, said.get("response", "").lower())


def digest(said: dict[str, str], method: str, password: str) -> str:
    """The response of RFC 2617 over what an Authorization header says."""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

    ours = md5(f"{said.get('username', '')}:{said.get('realm', '')}:{password}")
    asked = md5(f"{method}:{said.get('uri', '')}")
    if said.get("qop"):
        return md5(f"{ours}:{said.get('nonce')}:{said.get('nc')}:{said.get('cnonce')}:{said['qop']}:{asked}")
    return md5(f"{ours}:{said.get('nonce')}:{asked}")
