"""Several of coap_device_client's cases in one go, on the board: main(cases, host, port)."""

import gc
import sys
import time


def network():
    """Brings the board's network up."""
    from boot.board import Board

    board = Board()
    board.network_up()
    for _ in range(200):
        if board.link():
            return
        time.sleep_ms(50)
    raise OSError("no address from DHCP")


def main(cases, host, port, haste=2):
    network()
    for case in cases:
        sys.argv[:] = ["coap_device_client", case, host, str(port), str(haste)]
        sys.modules.pop("coap_device_client", None)
        gc.collect()
        try:
            __import__("coap_device_client")
            print("passed", case)
        except Exception as error:
            print("FAILED", case, repr(error))


def serve(port):
    network()
    sys.argv[:] = ["coap_device_server", str(port), "0.0.0.0"]
    __import__("coap_device_server")
