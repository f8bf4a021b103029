"""Simulators: one folder a suite. The GL backend is settled here, since MuJoCo reads it when it is imported."""

from sim import gl

gl.choose()
