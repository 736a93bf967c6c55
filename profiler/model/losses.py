"""What training makes small: the squared error, and a little of the spectra's difference.

The target has unit RMS over the training part, so the mean squared error is the ESR of that
part, and a loud window weighs as much as it does in the ESR that is reported.

The multi-resolution STFT distance (Yamamoto, Song and Kim, "Parallel WaveGAN", ICASSP 2020,
eqs. 4-6) hears what the squared error hardly sees: quiet treble below loud bass. It costs
more than it is worth at every resolution in every step, so each step takes one of the
resolutions in turn.
"""

import torch

# FFT length, hop and window of eq. 6
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))

STFT_WEIGHT = 2e-4
_FLOOR = 1e-3  # of a magnitude, some 80 dB below a target of unit RMS: noise, not to be learned


def mean_squared_error(estimate: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean of (estimate - target)^2 over `(n,)` samples."""
    return torch.mean((estimate - target) ** 2)


def stft_distance(estimate: torch.Tensor, target: torch.Tensor, resolution: int) -> torch.Tensor:
    """Spectral convergence plus log-magnitude distance at one of `RESOLUTIONS` (eqs. 4, 5)."""
    wanted = _magnitudes(target, resolution)
    found = _magnitudes(estimate, resolution)
    convergence = torch.linalg.norm(wanted - found) / torch.linalg.norm(wanted)
    return convergence + torch.mean(torch.abs(torch.log(wanted) - torch.log(found)))


def training_loss(
    estimate: torch.Tensor, target: torch.Tensor, step: int
) -> tuple[float, torch.Tensor]:
    """The squared error of a window, and the gradient of the whole loss at its samples.

    Parameters
    ----------
    estimate, target : (n,) tensor
    step : int
        Chooses the resolution of the spectral part.

    Returns
    -------
    mean squared error, and the gradient `(n,)`
    """
    with torch.enable_grad():
        variable = estimate.detach().requires_grad_()
        error = mean_squared_error(variable, target)
        distance = stft_distance(variable, target, step % len(RESOLUTIONS))
        (gradient,) = torch.autograd.grad(error + STFT_WEIGHT * distance, variable)
    return float(error.detach()), gradient


def _magnitudes(signal, resolution):
    length, hop, window = RESOLUTIONS[resolution]
    spectrum = torch.stft(
        signal,
        length,
        hop,
        window,
        torch.hann_window(window, dtype=signal.dtype),
        center=False,
        return_complex=True,
    )
    return torch.clamp(spectrum.abs(), min=_FLOOR)
