"""What a device does, measured: arrays in, values out; knows no rig and no model."""
