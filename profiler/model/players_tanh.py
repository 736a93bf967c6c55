"""The approximation of tanh that players switch on (`fast_tanh` of NeuralAmpModelerCore)."""


def players_tanh(z):
    """Of an array or a tensor, as it is: a new one of the same kind and shape."""
    a, b, c = 2.45550750702956, 0.893229853513558, 0.821226666969744
    d, e = 2.44506634652299, 0.814642734961073
    size = abs(z)
    square = z * z
    numerator = z * (a + a * size + (b + c * size) * square)
    return numerator / (d + (d + square) * abs(z + e * z * size))
