"""Where a redirect leads (RFC 9110 section 10.2.2)."""

from http_client.header import HttpError

_MOST = 512  # bytes


def target(header, host, port, path, tls):
    """(host, port, path) of the Location in a get.Header. Raises HttpError for one that leads to
    another scheme, or is no address.
    """
    status = header.status
    place = header.fields[b"location"]
    if not 0 < len(place) <= _MOST or any(byte < 33 or byte > 126 for byte in place):
        raise HttpError(status, "a redirect to something that is no address")
    text = str(place, "utf-8").split("#")[0]
    scheme = "https" if tls else "http"
    lower = text.split("/")[0].lower()
    if lower == scheme + ":":
        text = text[len(lower) :]
    elif ":" in text.split("/")[0].split("?")[0]:
        raise HttpError(status, "a redirect to another scheme than %s" % scheme)
    if text.startswith("//"):
        place, slash, rest = text[2:].partition("/")
        host, colon, number = place.partition(":")
        port = 443 if tls else 80
        if colon and number:
            port = int(number) if number.isdigit() and len(number) < 6 else 0
        if not host or "@" in host or "?" in host or not 0 < port < 65536:
            raise HttpError(status, "a redirect to something that is no address")
        return host, port, slash + rest or "/"
    if not text.startswith("/"):  # relative to where we are
        text = path.split("?")[0].rpartition("/")[0] + "/" + text
    return host, port, text
