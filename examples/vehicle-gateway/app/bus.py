"""A vehicle's bus, simulated: one frame with engine speed, vehicle speed and coolant temperature,
on a drive that repeats every two minutes. For a real one `read_simulated` is replaced by a read of
the CAN controller.

The frame: CRC-8, counter (gate.telemetry.e2e_frame), engine speed in 0.25/min, vehicle speed in
0.01 km/h, both 16 bits, low byte first, coolant temperature in Cel, 8 bits signed, spare.
"""

from gate.clock import ticks_ms
from gate.telemetry.e2e_frame import crc8

IDENTIFIER = 0x3E9
SIZE = 8

_sent = [0]  # frames so far


def read_simulated(data):
    """The frame that is on the bus now, into data; as all sources, without allocating."""
    tenths = ticks_ms() // 100 % 1200
    ramp = 600 - abs(tenths - 600)  # 0 to 600 and back
    engine = 3200 + 16 * ramp + tenths % 7 * 12  # 800/min to 3200/min, with a flutter
    speed = ramp * 20  # 0 to 120 km/h
    data[1] = _sent[0] % 15
    data[2], data[3] = engine & 0xFF, engine >> 8
    data[4], data[5] = speed & 0xFF, speed >> 8
    data[6] = 82 + ramp // 100
    data[7] = 0xFF
    data[0] = crc8(data, IDENTIFIER)
    _sent[0] += 1
    return True
