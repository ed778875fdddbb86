"""Four models as a person writes them in plain PyTorch, from their papers: the peers of `benchmarks.families`.

Each has a `losses` method: what is minimised in turn on a batch, and in which parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Losses = list[tuple[Callable[[Tensor], Tensor], list[nn.Parameter]]]


# A GAN with a relativistic loss and penalties at real and generated examples ------------------------------------------


class Blur(nn.Module):
    """[1, 2, 1] x [1, 2, 1] / 16 in each channel, edges repeated."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", (line[:, None] * line).expand(channels, 1, 3, 3).contiguous(), persistent=False)

    def forward(self, h: Tensor) -> Tensor:
        return F.conv2d(F.pad(h, (1, 1, 1, 1), mode="replicate"), self.kernel, groups=h.shape[1])


class Residual(nn.Module):
    def __init__(self, c: int, groups: int = 8, ratio: int = 2) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c, ratio * c, 1)
        self.conv2 = nn.Conv2d(ratio * c, ratio * c, 3, padding=1, groups=groups)
        self.conv3 = nn.Conv2d(ratio * c, c, 1, bias=False)

    def forward(self, h: Tensor) -> Tensor:
        a = F.leaky_relu(self.conv1(h), 0.2)
        return h + self.conv3(F.leaky_relu(self.conv2(a), 0.2))


class Generator(nn.Module):
    def __init__(self, k: int = 32, c: int = 64, levels: int = 2, depth: int = 2) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.randn(c, 2, 2))
        self.linear = nn.Linear(k, c)
        self.levels = nn.ModuleList(nn.Sequential(*(Residual(c) for _ in range(depth))) for _ in range(levels + 1))
        self.blur = Blur(c)
        self.last = nn.Conv2d(c, 1, 1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.levels[0](self.basis * self.linear(z)[:, :, None, None])
        for level in self.levels[1:]:
            h = level(self.blur(F.interpolate(h, scale_factor=2)))
        return self.last(h)


class Critic(nn.Module):
    def __init__(self, c: int = 64, levels: int = 2, depth: int = 2) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, c, 1)
        self.levels = nn.ModuleList(nn.Sequential(*(Residual(c) for _ in range(depth))) for _ in range(levels + 1))
        self.blur = Blur(c)
        self.basis = nn.Parameter(torch.randn(c, 2, 2) / 2)
        self.last = nn.Linear(c, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for level in self.levels[:-1]:
            h = F.avg_pool2d(self.blur(level(h)), 2)
        return self.last((self.levels[-1](h) * self.basis).sum(dim=(2, 3))).squeeze(1)


class Gan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.G, self.D = Generator(), Critic()

    def losses(self) -> Losses:
        return [(self.critic_loss, list(self.D.parameters())), (self.generator_loss, list(self.G.parameters()))]

    def critic_loss(self, x: Tensor, gamma: float = 0.05) -> Tensor:
        with torch.no_grad():
            fake = self.G(torch.randn(len(x), 32))
        x, fake = x.detach().requires_grad_(), fake.requires_grad_()
        real, made = self.D(x), self.D(fake)
        slopes = torch.autograd.grad(real.sum() + made.sum(), [x, fake], create_graph=True)
        penalty = sum(s.square().sum(dim=(1, 2, 3)) for s in slopes)
        return (F.softplus(made - real) + gamma / 2 * penalty).mean()

    def generator_loss(self, x: Tensor) -> Tensor:
        real, made = self.D(torch.cat([x, self.G(torch.randn(len(x), 32))])).chunk(2)
        return F.softplus(real - made).mean()


# Masked diffusion of text ---------------------------------------------------------------------------------------------


def rotate(u: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    a, b = u.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Block(nn.Module):
    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.RMSNorm(d, eps=1e-6), nn.RMSNorm(d, eps=1e-6)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 8 * d, bias=False), nn.Linear(4 * d, d, bias=False)

    def forward(self, h: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        b, n, d = h.shape
        q, k, v = self.qkv(self.norm1(h)).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        a = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v)
        h = h + self.out(a.transpose(1, 2).reshape(b, n, d))
        gate, a = self.up(self.norm2(h)).chunk(2, dim=-1)
        return h + self.down(F.silu(gate) * a)


class Masked(nn.Module):
    def __init__(self, n: int = 32, vocab: int = 27, d: int = 64, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.vocab = vocab
        self.tokens = nn.Embedding(vocab + 1, d)
        self.blocks = nn.ModuleList(Block(d, heads) for _ in range(depth))
        self.norm, self.last = nn.RMSNorm(d, eps=1e-6), nn.Linear(d, vocab)
        half = d // heads // 2
        angle = torch.arange(n)[:, None] * 10000 ** (-torch.arange(half) / half)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, z: Tensor) -> Tensor:
        h = self.tokens(z)
        for block in self.blocks:
            h = block(h, self.cos, self.sin)
        return self.last(self.norm(h))

    def losses(self) -> Losses:
        return [(self.loss, list(self.parameters()))]

    def loss(self, x: Tensor) -> Tensor:
        """The bound in continuous time, times spread evenly; masked with the cosine schedule."""
        t = 1e-4 + (1 - 1e-4) * ((torch.rand(()) + torch.arange(len(x)) / len(x)) % 1)
        angle = math.pi / 2 * (1 - t)
        hazard = math.pi / 2 * angle.sin() / angle.cos()
        masked = torch.rand(x.shape) >= (1 - angle.cos())[:, None]
        logits = self(torch.where(masked, self.vocab, x))
        lost = F.cross_entropy(logits.flatten(0, 1), x.flatten(), reduction="none").view_as(x)
        return ((1 - 1e-4) * hazard * (lost * masked).sum(dim=1)).mean()


# A flow of two scales -------------------------------------------------------------------------------------------------


def convnet(channels: int, width: int = 32) -> nn.Sequential:
    layers = nn.Conv2d(channels, width, 3, padding=1), nn.Conv2d(width, width, 1), nn.Conv2d(width, 2 * channels, 3, padding=1)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


class Step(nn.Module):
    """Actnorm, a matrix over the channels by its triangles, and an affine coupling."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.shift, self.scale = nn.Parameter(torch.zeros(c, 1, 1)), nn.Parameter(torch.ones(c, 1, 1))
        self.lower, self.upper = nn.Parameter(0.1 * torch.randn(c, c)), nn.Parameter(0.1 * torch.randn(c, c))
        self.diagonal = nn.Parameter(torch.ones(c))
        self.register_buffer("eye", torch.eye(c), persistent=False)
        self.net = convnet(c // 2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        lower, upper = self.lower.tril(-1) + self.eye, self.upper.triu(1) + torch.diag(self.diagonal)
        x = F.conv2d(self.scale * (x + self.shift), (lower @ upper).flip(0)[:, :, None, None])
        a, b = x.chunk(2, dim=1)
        s, shift = self.net(b).chunk(2, dim=1)
        s = 2 * torch.tanh(s / 2)
        places = x.shape[2] * x.shape[3]
        volume = places * (self.scale.abs().log().sum() + self.diagonal.abs().log().sum())
        return torch.cat([s.exp() * a + shift, b], dim=1), s.sum(dim=(1, 2, 3)) + volume


class Flow(nn.Module):
    def __init__(self, depth: int = 4) -> None:
        super().__init__()
        self.fine = nn.ModuleList(Step(4) for _ in range(depth))
        self.coarse = nn.ModuleList(Step(8) for _ in range(depth))
        self.prior = convnet(2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, logdet = F.pixel_unshuffle(x, 2), 0.0
        for step in self.fine:
            h, more = step(h)
            logdet = logdet + more
        h, left = h.chunk(2, dim=1)
        mean, log_std = self.prior(h).chunk(2, dim=1)
        left = (left - mean) * torch.exp(-log_std)
        h = F.pixel_unshuffle(h, 2)
        for step in self.coarse:
            h, more = step(h)
            logdet = logdet + more
        return torch.cat([h.flatten(1), left.flatten(1)], dim=1), logdet - log_std.sum(dim=(1, 2, 3))

    def losses(self) -> Losses:
        return [(self.loss, list(self.parameters()))]

    def loss(self, x: Tensor) -> Tensor:
        z, logdet = self(2 * ((x + 1) * 8 + torch.rand_like(x)) / 17 - 1)
        return ((z.square() / 2 + 0.5 * math.log(2 * math.pi)).sum(dim=1) - logdet).mean()


# Consistency distillation in the plane --------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self, width: int = 128) -> None:
        super().__init__()
        hidden = nn.Linear(11, width), nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, 2)
        self.layers = nn.Sequential(hidden[0], *(m for layer in hidden[1:] for m in (nn.SiLU(), layer)))

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        angle = t[:, None] * 2.0 ** torch.arange(4)
        return self.layers(torch.cat([z, t[:, None], angle.sin(), angle.cos()], dim=1))


class Consistency(nn.Module):
    """f(z, t) = c_skip z + c_out net(c_in z, log(t) / 4), which at t_min is z."""

    def __init__(self) -> None:
        super().__init__()
        self.net, self.target = Net(), Net().requires_grad_(False)
        angle = torch.arange(8) * math.pi / 4
        self.register_buffer("centres", 0.7 * torch.stack([angle.cos(), angle.sin()], dim=1), persistent=False)

    def teacher(self, z: Tensor, t: Tensor) -> Tensor:
        """The slope of the path of eight normals, exactly."""
        t = t[:, None]
        var = 0.0049 + t.square()
        w = torch.softmax(-torch.cdist(z, self.centres).square() / (2 * var), dim=1)
        centre = w @ self.centres
        return (z - centre - 0.0049 / var * (z - centre)) / t

    def f(self, net: Net, z: Tensor, t: Tensor) -> Tensor:
        out = net(z / torch.sqrt(t.square() + 0.25)[:, None], t.log() / 4)
        c_skip = 0.25 / ((t - 0.002).square() + 0.25)
        c_out = 0.5 * (t - 0.002) / torch.sqrt(t.square() + 0.25)
        return c_skip[:, None] * z + c_out[:, None] * out

    def losses(self) -> Losses:
        return [(self.loss, list(self.net.parameters()))]

    def loss(self, x: Tensor, n: int = 18) -> Tensor:
        low, high = 0.002 ** (1 / 7), 80 ** (1 / 7)
        i = torch.randint(n - 1, (len(x),))
        t, s = ((low + k / (n - 1) * (high - low)) ** 7 for k in (i + 1, i))
        z = x + t[:, None] * torch.randn_like(x)
        with torch.no_grad():
            step, slope = (s - t)[:, None], self.teacher(z, t)
            y = z + step * (slope + self.teacher(z + step * slope, s)) / 2
            aim = self.f(self.target, y, s)
        return F.mse_loss(self.f(self.net, z, t), aim)
