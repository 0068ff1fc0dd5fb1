"""Text to packets and back: `~m~LENGTH~m~payload`.

LENGTH counts UTF-16 code units (JavaScript's `String.length`), so it exceeds Python's `len` by one for every
character beyond U+FFFF. Packets are cut by that length alone: a payload may contain the delimiter itself.
Knows nothing of what a payload means. Source: PROTOCOL.md §1.2.
"""

from tv_etl.tradingview.errors import FrameError

# A 40,000-bar answer is about 4.5 MB; the official client has no limit, tvkit none either (and dies of it).
MAX_MESSAGE_LENGTH = 16 * 1024 * 1024

_MARK = "~m~"
_MAX_DIGITS = len(str(MAX_MESSAGE_LENGTH))


def utf16_length(text: str) -> int:
    """Length of the text in UTF-16 code units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def encode_packet(payload: str) -> str:
    """Wrap the payload in a packet."""
    return f"{_MARK}{utf16_length(payload)}{_MARK}{payload}"


class PacketDecoder:
    """Cuts received text into payloads, however the text was split in transit.

    The live server never splits a packet across two WebSocket messages, but a proxy may; an incomplete packet is
    kept for the next `feed`, up to the length that it announced.
    """

    def __init__(self) -> None:
        self._pending: list[str] = []
        self._pending_units = 0
        self._wanted_units = 0

    @property
    def has_pending(self) -> bool:
        """True while part of a packet waits for the rest."""
        return bool(self._pending)

    def feed(self, text: str) -> list[str]:
        """Return the payloads that are now complete. Raises FrameError if the text is not a packet."""
        if self._pending:
            # Joining only what is whole keeps a packet in a thousand pieces linear.
            self._pending.append(text)
            self._pending_units += utf16_length(text)
            if self._pending_units < self._wanted_units:
                return []
            text = "".join(self._pending)
        payloads: list[str] = []
        self._wanted_units = 0
        position = 0
        while position < len(text):
            header = _read_header(text, position)
            if header is None:
                break
            start, length = header
            end = _advance(text, start, length)
            if end is None:
                self._wanted_units = start - position + length
                break
            payloads.append(text[start:end])
            position = end
        rest = text[position:]
        self._pending = [rest] if rest else []
        self._pending_units = utf16_length(rest)
        return payloads


def _read_header(text: str, position: int) -> tuple[int, int] | None:
    """(where the payload starts, its length), or None if the header itself is incomplete."""
    mark = text[position : position + len(_MARK)]
    if mark != _MARK:
        if _MARK.startswith(mark):
            return None
        raise FrameError(f"expected '~m~' at character {position}")
    first = position + len(_MARK)
    last = text.find("~", first, first + _MAX_DIGITS + 1)
    digits = text[first : last if last >= 0 else first + _MAX_DIGITS + 1]
    if digits and not (digits.isascii() and digits.isdigit()):
        raise FrameError(f"the length at character {first} is not a number")
    if last < 0:
        if len(digits) > _MAX_DIGITS:
            raise FrameError(f"the length at character {first} has more than {_MAX_DIGITS} digits")
        return None
    closing = text[last : last + len(_MARK)]
    if not digits or not _MARK.startswith(closing):
        raise FrameError(f"the length at character {first} is not closed by '~m~'")
    if int(digits) > MAX_MESSAGE_LENGTH:
        raise FrameError(f"a packet announces {digits} characters: expected at most {MAX_MESSAGE_LENGTH}")
    return (last + len(_MARK), int(digits)) if closing == _MARK else None


def _advance(text: str, start: int, length: int) -> int | None:
    """Index after `length` UTF-16 units from `start`, or None if the text ends before."""
    if text.isascii():
        return start + length if start + length <= len(text) else None
    candidate = text[start : start + length]
    if candidate.isascii():
        return start + length if len(candidate) == length else None
    units = candidate.encode("utf-16-le", "surrogatepass")
    if len(units) < 2 * length:
        return None
    try:
        return start + len(units[: 2 * length].decode("utf-16-le"))
    except UnicodeDecodeError:
        raise FrameError(f"the packet at character {start} ends inside a character") from None
