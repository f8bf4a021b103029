"""Simulators: one folder a suite. MuJoCo reads its GL backend when imported, so it is settled here."""

from sim import gl

gl.choose()
