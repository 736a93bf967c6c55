"""The checks of a take: is it whole, is it the device, and what spoilt it."""
