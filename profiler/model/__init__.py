"""Networks: architectures, dataset, losses, optimiser, training, streaming. The home of torch."""
