"""The rig: amp, controls, load, wiring, and the interface that reaches them."""
