"""What brings up the network of a board at its prompt."""

UP = """
import network, time
lan = network.LAN()
lan.active(True)
start = time.ticks_ms()
while not lan.isconnected():
    if time.ticks_diff(time.ticks_ms(), start) > 5000: raise OSError('no address')
    time.sleep_ms(5)
"""
# trust(ca[, certificate, key]): a context that trusts this authority.
TRUST = """
import ssl
def trust(ca, *pair):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(ca)
    if pair: made.load_cert_chain(*pair)
    return made
"""
