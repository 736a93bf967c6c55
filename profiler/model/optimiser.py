"""SOAP, a one-cycle schedule, and an average of the weights.

SOAP (Vyas et al., "SOAP: Improving and stabilizing Shampoo using Adam", 2024, algorithm 3)
runs Adam in the eigenbasis of Shampoo's preconditioner. A WaveNet's layers are small
matrices, so the bases cost next to nothing, and a given error is reached in a third to a
fifth of Adam's steps.
"""

import math

import numpy as np

from profiler.model.network import Shape

FIRST_RATE, LAST_RATE = 0.1, 0.01  # re the peak
AVERAGE_DECAY = 0.98
LARGEST_MATRIX = 256  # rows or columns, to be preconditioned
LARGEST_GRADIENT = 1.0  # norm, of a loss that is 1 for silence


class Soap:
    """Optimiser of the flat weights of one network.

    Matrices of the same shape are preconditioned together; vectors take plain Adam steps.

    Parameters
    ----------
    shapes : sequence of (start, rows, columns)
        Where matrices stand in the flat vector, row-major.
    count : int
        Length of the flat vector.
    """

    MOMENTUM = 0.95  # beta 1
    SECOND_MOMENT = 0.95  # beta 2
    PRECONDITIONER = 0.95  # Shampoo's beta
    REFRESH_STEPS = 10  # between two refreshes of the eigenbases
    EPSILON = 1e-8

    def __init__(self, shapes, count):
        self.steps = 0
        self._adam_mean = np.zeros(count, np.float32)
        self._adam_square = np.zeros(count, np.float32)
        self._groups = {}
        for start, rows, columns in shapes:
            self._groups.setdefault((rows, columns), []).append(start)
        self._places = {
            shape: np.asarray(starts)[:, None] + np.arange(shape[0] * shape[1])
            for shape, starts in self._groups.items()
        }
        self._state = {}
        for (rows, columns), starts in self._groups.items():
            k = len(starts)
            self._state[rows, columns] = {
                "left": np.zeros((k, rows, rows), np.float32),
                "right": np.zeros((k, columns, columns), np.float32),
                "left_basis": np.zeros((k, rows, rows), np.float32),
                "right_basis": np.zeros((k, columns, columns), np.float32),
                "mean": np.zeros((k, rows, columns), np.float32),
                "square": np.zeros((k, rows, columns), np.float32),
            }

    def step(self, gradient: np.ndarray, rate: float) -> np.ndarray:
        """What is to be added to the weights, `(count,)`, for a gradient at a learning rate."""
        self.steps += 1
        mean_weight = 1.0 - self.MOMENTUM**self.steps
        square_weight = 1.0 - self.SECOND_MOMENT**self.steps
        self._adam_mean += (1.0 - self.MOMENTUM) * (gradient - self._adam_mean)
        self._adam_square += (1.0 - self.SECOND_MOMENT) * (gradient**2 - self._adam_square)
        change = self._direction(self._adam_mean / mean_weight, self._adam_square / square_weight)
        for shape, places in self._places.items():
            matrix = gradient[places].reshape(-1, *shape)
            state = self._state[shape]
            self._precondition(state, matrix)
            left, right = state["left_basis"], state["right_basis"]
            rotated = _turned(left) @ matrix @ right
            state["mean"] += (1.0 - self.MOMENTUM) * (matrix - state["mean"])
            state["square"] += (1.0 - self.SECOND_MOMENT) * (rotated**2 - state["square"])
            mean = _turned(left) @ state["mean"] @ right
            direction = self._direction(mean / mean_weight, state["square"] / square_weight)
            change[places] = (left @ direction @ _turned(right)).reshape(places.shape)
            if self.steps % self.REFRESH_STEPS == 0:
                state["left_basis"] = np.linalg.qr(state["left"] @ left)[0]
                state["right_basis"] = np.linalg.qr(state["right"] @ right)[0]
        return -rate * change

    def _precondition(self, state, matrix):
        first = self.steps == 1
        share = 1.0 if first else 1.0 - self.PRECONDITIONER
        state["left"] += share * (matrix @ _turned(matrix) - state["left"])
        state["right"] += share * (_turned(matrix) @ matrix - state["right"])
        if first:
            state["left_basis"] = np.linalg.eigh(state["left"])[1]
            state["right_basis"] = np.linalg.eigh(state["right"])[1]

    def _direction(self, mean, square):
        return mean / (np.sqrt(square) + self.EPSILON)

    def state(self) -> dict[str, np.ndarray]:
        """Everything but the step count, by name, to be saved."""
        arrays = {"adam_mean": self._adam_mean, "adam_square": self._adam_square}
        for (rows, columns), state in self._state.items():
            arrays |= {f"{rows}x{columns}.{name}": value for name, value in state.items()}
        return arrays

    def restore(self, steps: int, arrays: dict[str, np.ndarray]) -> None:
        """Continue from what `state` gave after `steps` steps."""
        self.steps = steps
        self._adam_mean, self._adam_square = arrays["adam_mean"], arrays["adam_square"]
        for (rows, columns), state in self._state.items():
            for name in state:
                state[name] = arrays[f"{rows}x{columns}.{name}"]


def optimiser_of(config: Shape) -> Soap:
    """SOAP for the weights of a network: a kernel is the matrix `(outputs, inputs x taps)`.

    Bases of matrices beyond `LARGEST_MATRIX` would take longer than the network itself.
    """
    shapes = []
    for part in config.parts:
        rows, columns = part.shape[0], math.prod(part.shape[1:])
        if 1 < rows <= LARGEST_MATRIX and 1 < columns <= LARGEST_MATRIX:
            shapes.append((part.start, rows, columns))
    return Soap(shapes, config.parameter_count)


def one_cycle(fraction: float, warm_up: float) -> float:
    """Learning rate re its peak at a fraction of the schedule: warm-up, then a half cosine.

    Smith and Topin, "Super-convergence", 2018.

    Parameters
    ----------
    warm_up : float
        Its share of the schedule; 0 for none.
    """
    if fraction < warm_up:
        return FIRST_RATE + (1.0 - FIRST_RATE) * fraction / warm_up
    angle = math.pi * min(1.0, (fraction - warm_up) / (1.0 - warm_up))
    return LAST_RATE + (1.0 - LAST_RATE) * 0.5 * (1.0 + math.cos(angle))


def averaged(average: np.ndarray, weights: np.ndarray, step: int) -> np.ndarray:
    """Exponential average of the weights after `step` steps, quick to forget the first ones."""
    decay = min(AVERAGE_DECAY, (1.0 + step) / (10.0 + step))
    return average + np.float32(1.0 - decay) * (weights - average)


def clipped(gradient: np.ndarray) -> np.ndarray:
    """The gradient, shortened to `LARGEST_GRADIENT` where it is longer."""
    norm = float(np.linalg.norm(gradient))
    return gradient * np.float32(LARGEST_GRADIENT / norm) if norm > LARGEST_GRADIENT else gradient


def _turned(matrices):
    return matrices.transpose(0, 2, 1)
