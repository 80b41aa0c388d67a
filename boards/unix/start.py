"""Runs a gateway's main.py with its folder TIDEGATE_ROOT as the file system, as on a board. Started by `gateway`."""

import os
import sys

import vfs

root = os.getenv("TIDEGATE_ROOT") or os.getcwd()
vfs.umount("/")
vfs.mount(vfs.VfsPosix(root), "/")
os.chdir("/")
sys.path[:] = ["", ".frozen", "/lib"]

__import__("main")
