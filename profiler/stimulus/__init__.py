"""What is played through the device: its plan, and every sample of it."""
