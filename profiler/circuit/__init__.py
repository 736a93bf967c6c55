"""Virtual devices from electronic components: what a simulated rig plays through.

They stand in for hardware in tests, in the docs, and for a user who tries the program on
the train. Voltages are in volts; a sample of 1.0 is 1 V at the device's input jack.

The circuits are compiled on first use and kept in `__pycache__`. A change to one part does
not reach a circuit that was compiled with it before: remove that folder after editing.
"""
