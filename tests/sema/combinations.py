"""Models put together at random from the library: what fits is run, what does not must say why."""

from __future__ import annotations

import random

DATA = {
    "vector": "data x: vector(2) from gaussians(k = 10)",
    "image": "data x: image(1, 8, 8) in [-1, 1] from digits",
}
BACKBONES = {
    "vector": ["mlp(width = 8, depth = 2, frequencies = 4)"],
    "image": [
        "unet(width = 8, levels = 2)",
        "dit(dim = 8, depth = 1, heads = 2)",
        "mlp(width = 8, depth = 1, frequencies = 4)",
    ],
}
PARTS = {
    "process": ["vp", "vp_cosine", "vp_sigmoid", "vp_discrete(steps = 50)", "linear", "ot_path", "trigonometric", "ve"],
    "source": ["", "", "standard_normal", "poisson_field(dims = 16)"],
    "coupling": ["", "", "independent", "minibatch_ot", "sinkhorn(rounds = 3)"],
    "times": ["", "", "uniform", "logit_normal", "lognormal", "low_discrepancy", "importance"],
    "predict": ["eps", "x0", "v", "velocity", "score", "edm"],
    "loss": ["", "mse", "mse(weight = min_snr)", "mse(weight = snr)", "mse(weight = edm)", "mse_and_direction"],
    "guidance": ["", "", "cfg(scale = 2)", "cfg(scale = input(2.0), low = 0.2, high = 0.8)"],
}
SPACINGS = ["uniform", "quadratic", "karras", "geometric"]
SAMPLERS = {
    "ddpm": [""],
    "ddim": ["", ", eta = 1", ", eta = 0.5", ", eta = input(0.0)"],
    "euler": [""],
    "midpoint": [""],
    "heun": ["", ", churn = 1"],
    "rk4": [""],
    "dpm_solver": [""],
    "sde": ["", ", noise = t => 1"],
}


def combination(rng: random.Random) -> str:
    """A spec with one choice for every part, and two samplers."""
    space = rng.choice(sorted(DATA))
    lines = [DATA[space]]
    if rng.random() < 0.5:
        lines.append(f"condition y: class(10){rng.choice(['', ' with { drop = 0.1 }', ' with { drop = 0.1 }'])}")
    chosen = {kind: rng.choice(options) for kind, options in PARTS.items()}
    chosen["backbone"] = rng.choice(BACKBONES[space])
    lines += [f"{kind} {word}" for kind, word in chosen.items() if word]
    name = rng.choice(sorted(SAMPLERS))
    spacing = rng.choice(["", f", spacing = {rng.choice(SPACINGS)}"])
    lines.append(f"sampler one = {name}(steps = {rng.choice([2, 3])}{rng.choice(SAMPLERS[name])}{spacing})")
    if rng.random() < 0.2:
        lines.append("sampler adaptive = dopri5(rtol = 0.01, atol = 0.01, limit = 3)")
    return "specc 1\nmodel m {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"
