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
    answer.update(link.facts())
    return answer
