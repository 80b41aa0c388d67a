"""The list of a CoAP server's resources: /.well-known/core (RFC 6690)."""

from coap.resource import Reply

_QUERY = 15


def core(resources, request):
    """The Reply to a GET, with one filter such as rt=a* if there is a query (section 4.1)."""
    if request.method != 1:
        return Reply(405)
    try:
        filters = [str(value, "utf-8").split("=", 1) for value in request.values(_QUERY)]
    except UnicodeError:
        return Reply(400)
    links = []
    for path in sorted(resources):
        resource = resources[path]
        if all(len(pair) == 2 and _matches(resource, pair[0], pair[1]) for pair in filters):
            link = "<%s>" % path + (";" + resource.links if resource.links else "")
            links.append(link + ";obs" if resource.observable else link)
    return Reply(205, ",".join(links).encode(), format=40)


def _matches(resource, name, pattern):
    if name == "href":
        values = (resource.path,)
    else:
        values = ()
        for attribute in resource.links.split(";"):
            key, _, value = attribute.partition("=")
            if key == name:
                value = value.strip('"')
                # These two are lists; of the others the whole is compared.
                values = value.split() if name in ("rt", "if", "rel") else (value,)
    for value in values:
        if value == pattern or (pattern.endswith("*") and value.startswith(pattern[:-1])):
            return True
    return False
