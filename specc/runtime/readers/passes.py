"""Events of a game with a ball: who has it passes it on, at rates that depend on what the two players did before."""

from collections.abc import Callable, Iterator

import numpy as np


def load(
    split: str = "train",
    count: int = 50,
    size: int = 64,
    players: int = 4,
    horizon: float = 20.0,
    base: float = 0.2,
    back: float = 1.5,
    again: float = 0.75,
    decay: float = 2.0,
) -> dict[str, np.ndarray]:
    """x: (n, size) float32, times of the passes, `end` where there is none; kind: (n, size) int64, players * who + to whom, 0
    for none; mask: (n, size) int64, 1 for a pass; end: (n,) float32, until when the game was watched.

    Player 0 begins. Whoever has the ball passes it to each of the others at the rate base + the sum over past passes, s ago, of
    exp(-decay s) times `back` for those the other way between the two and `again` for those the same way. A game is watched
    until `horizon`, or until its pass number `size`. split is train (`count` games), test (as many others) or all.
    """
    if split not in ("train", "test", "all"):
        raise ValueError(f"passes have the splits train, test and all, not {split!r}")
    if count < 1 or players < 2 or min(base, decay) <= 0 or min(back, again) < 0:
        raise ValueError("passes need a game, two players or more, a positive base and decay, and no negative rate")
    rng, n = np.random.default_rng(0), 2 * count
    x, kind, end = np.zeros((n, size)), np.zeros((n, size), np.int64), np.full(n, horizon)
    mask = np.zeros_like(kind)

    def rates(past: np.ndarray, who: int) -> np.ndarray:
        return np.where(np.arange(players) == who, 0, base + back * past[:, who] + again * past[who])

    for i in range(n):
        for j, (time, who, to) in zip(range(size), _game(rng, players, horizon, decay, rates), strict=False):
            x[i, j], kind[i, j], mask[i, j] = time, players * who + to, 1
        if mask[i].all():
            end[i] = x[i, -1]
        x[i, mask[i] == 0] = end[i]
    part = {"train": slice(count), "test": slice(count, None), "all": slice(None)}[split]
    fields = {"x": x.astype(np.float32), "kind": kind, "mask": mask, "end": end.astype(np.float32)}
    return {name: values[part] for name, values in fields.items()}


def _game(
    rng: np.random.Generator, players: int, horizon: float, decay: float, rates: Callable[[np.ndarray, int], np.ndarray]
) -> Iterator[tuple[float, int, int]]:
    """Time, from whom and to whom of each pass, by thinning: rates only fall until the next one."""
    past, time, who = np.zeros((players, players)), 0.0, 0  # what is left of earlier passes, from and to
    while True:
        bound = rates(past, who).sum()
        wait = rng.exponential() / bound
        time += wait
        if time >= horizon:
            return
        past *= np.exp(-decay * wait)
        now = rates(past, who)
        if rng.uniform() * bound < now.sum():
            to = int(rng.choice(players, p=now / now.sum()))
            past[who, to] += 1
            yield time, who, to
            who = to
