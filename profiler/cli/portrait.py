"""What a network is and what it costs, as commands show it."""

BLOCK = 64  # samples: of an interface for live playing


def network_facts(name, network):
    """Rows of a table: architecture, receptive field, products a sample, speed on this machine."""
    config, rate = network.config, network.sample_rate
    samples = config.receptive_field
    field = f"{samples} samples ({1e3 * samples / rate:.0f} ms)" if rate else f"{samples} samples"
    factor = _factor(network)
    return (
        ("architecture", f"{name}, {config.parameter_count} parameters"),
        (
            "receptive field",
            f"a state of its own, warmed up over {field}" if config.recurrent else field,
        ),
        ("multiply-adds", f"{config.multiply_adds} a sample"),
        (
            "real time",
            "not measured"
            if factor is None
            else f"{factor:.3g} times, in blocks of {BLOCK} on one core",
        ),
    )


def network_json(network):
    """The same as values, units in the keys."""
    config = network.config
    return {
        "parameters": config.parameter_count,
        "receptive_field_samples": config.receptive_field,
        "recurrent": config.recurrent,
        "multiply_adds_a_sample": config.multiply_adds,
        "block_samples": BLOCK,
        "real_time_factor": _factor(network),  # null: not measured
    }


def _factor(network):
    from profiler.model.streaming import real_time_factor

    return real_time_factor(network, block=BLOCK)
