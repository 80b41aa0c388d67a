"""The opcode about the connection to the server."""


def mqtt(call):
    """Facts of the session, of each uplink that there is."""
    agent = call.agent
    link = agent.link
    answer = {
        "connected": link.connected,
        "announced": link.announced,
        "sessions": link.sessions,
        "messages_waiting": len(agent.outbox.queue),
        "messages_dropped": agent.outbox.dropped,
        "packs_in_ram": agent.telemetry.used > 0,
        "packs_on_flash": bool(agent.telemetry.ring),
    }
    for part in (link.first, link.second) if hasattr(link, "first") else (link,):
        if hasattr(part, "client"):
            answer["mqtt"] = _facts(part.client)
        else:
            answer["coap"] = {"connected": part.connected, "sessions": part.sessions}
    return answer


def _facts(client):
    host, port, ssl = client.config[:3]
    return {
        "host": host,
        "port": port,
        "tls": ssl is not None,
        "connected": client.connected,
        "sessions": client.sessions,
        "last_error": repr(client.error)[:80] if client.error else None,
        "in_flight": len(client.window),
        "oversized": client.oversized,
        "handler_errors": client.handler_errors,
        "keepalive_s": client.ping_ms // 500,
        "packet_size": len(client.rx),
    }
