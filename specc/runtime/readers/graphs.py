"""Random graphs of networkx, as adjacency matrices padded to one size."""

import networkx
import numpy as np


def draw(
    n: int,
    rng: np.random.Generator,
    family: str = "barabasi_albert",
    size: int = 20,
    least: int = 0,
    attach: int = 2,
    communities: int = 2,
    inside: float = 0.7,
    outside: float = 0.05,
) -> dict[str, np.ndarray]:
    """x: (n, size, size) int64, symmetric with an empty diagonal; mask: (n, size) int64, 1 for the nodes that are there, the
    first ones; degree: (n, size) int64.

    family: barabasi_albert (new nodes attach to `attach` others, by degree), community (equal blocks, edges with the chances
    `inside` and `outside`) or ego (of one node of a barabasi_albert graph, with its neighbours). A graph has `size` nodes, or a
    uniform number from `least` to `size`. Nodes are in random order.
    """
    if family not in ("barabasi_albert", "community", "ego"):
        raise ValueError(f"graphs has barabasi_albert, community and ego, not {family!r}")
    if not (least or size) <= size or size < 2 or attach >= (least or size):
        raise ValueError(f"graphs of {least or size} to {size} nodes, each attached to {attach} others, do not exist")
    x = np.zeros((n, size, size), np.int64)
    mask = np.zeros((n, size), np.int64)
    for i in range(n):
        nodes = int(rng.integers(least or size, size + 1))
        seed = int(rng.integers(2**31))
        if family == "community":
            blocks = [len(part) for part in np.array_split(np.arange(nodes), communities)]
            chances = np.full((communities, communities), outside) + (inside - outside) * np.eye(communities)
            graph = networkx.stochastic_block_model(blocks, chances, seed=seed)
        else:
            graph = networkx.barabasi_albert_graph(nodes, attach, seed=seed)
        if family == "ego":
            graph = networkx.ego_graph(graph, int(rng.integers(nodes)))
        count = graph.number_of_nodes()
        order = list(rng.permutation(list(graph)))
        x[i, :count, :count] = networkx.to_numpy_array(graph, order, dtype=np.int64)
        mask[i, :count] = 1
    return {"x": x, "mask": mask, "degree": x.sum(axis=-1)}
