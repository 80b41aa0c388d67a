"""A whole Tidegate installation in one folder: keys, server, broker, emulated boards.

The demo tells its story with it and the end-to-end tests put it under stress. Everything happens through the commands a
user would type and the server's API; nothing in here stands in for a part of the product.
"""

from lab.board import LabBoard
from lab.gateway import LabGateway
from lab.installation import Installation
from lab.mosquitto import Mosquitto

__all__ = ["Installation", "LabBoard", "LabGateway", "Mosquitto"]
