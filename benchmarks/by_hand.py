"""The digits UNet and a DiT as a person writes them, with the loss of the specs beside: the peers of the generated step."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def fourier(t: Tensor, dim: int) -> Tensor:
    frequency = torch.exp(torch.arange(dim // 2, device=t.device) * (math.log(1000) / (dim // 2 - 1)))
    angle = t[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class Embed(nn.Module):
    def __init__(self, dim: int, classes: int | None) -> None:
        super().__init__()
        self.dim = dim
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.classes = nn.Embedding(classes + 1, dim) if classes else None

    def forward(self, t: Tensor, y: Tensor | None) -> Tensor:
        k = self.mlp(fourier(t, self.dim))
        return k if self.classes is None else k + self.classes(y)


class ResBlock(nn.Module):
    def __init__(self, c: int, n: int, m: int) -> None:
        super().__init__()
        self.embed = nn.Linear(m, 2 * n)
        self.norm1 = nn.GroupNorm(math.gcd(8, c), c)
        self.conv1 = nn.Conv2d(c, n, 3, padding=1)
        self.norm2 = nn.GroupNorm(math.gcd(8, n), n, affine=False)
        self.conv2 = nn.Conv2d(n, n, 3, padding=1)
        self.skip = nn.Identity() if n == c else nn.Conv2d(c, n, 1)

    def forward(self, h: Tensor, k: Tensor) -> Tensor:
        scale, shift = self.embed(F.silu(k))[:, :, None, None].chunk(2, dim=1)
        a = self.norm2(self.conv1(F.silu(self.norm1(h))))
        return self.skip(h) + self.conv2(F.silu(a * (1 + scale) + shift))


class UNet(nn.Module):
    def __init__(self, channels: int = 1, width: int = 32, classes: int | None = 10) -> None:
        super().__init__()
        m, w = 4 * width, width
        self.embed = Embed(m, classes)
        self.first = nn.Conv2d(channels, w, 3, padding=1)
        self.down1, self.down2, self.mid = ResBlock(w, w, m), ResBlock(w, 2 * w, m), ResBlock(2 * w, 2 * w, m)
        self.up2, self.up1 = ResBlock(4 * w, 2 * w, m), ResBlock(3 * w, w, m)
        self.norm = nn.GroupNorm(8, w)
        self.last = nn.Conv2d(w, channels, 3, padding=1)

    def forward(self, z: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        k = self.embed(t, y)
        a = self.down1(self.first(z), k)
        b = self.down2(F.avg_pool2d(a, 2), k)
        h = self.up2(torch.cat([self.mid(b, k), b], dim=1), k)
        h = self.up1(torch.cat([F.interpolate(h, scale_factor=2), a], dim=1), k)
        return self.last(F.silu(self.norm(h)))


class DiTBlock(nn.Module):
    def __init__(self, d: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulation = nn.Linear(d, 6 * d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d))
        self.norm = nn.LayerNorm(d, elementwise_affine=False)

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(F.silu(c))[:, None].chunk(6, dim=-1)
        b, n, d = h.shape
        q, k, v = (
            self.qkv(self.norm(h) * (1 + scale1) + shift1).view(b, n, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        )
        a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, d)
        h = h + gate1 * self.out(a)
        return h + gate2 * self.mlp(self.norm(h) * (1 + scale2) + shift2)


class DiT(nn.Module):
    def __init__(self, channels: int, size: int, dim: int, depth: int, heads: int, patch: int, classes: int | None) -> None:
        super().__init__()
        self.patch, self.grid, self.channels = patch, size // patch, channels
        self.embed = Embed(dim, classes)
        self.first = nn.Linear(channels * patch * patch, dim)
        self.place = nn.Parameter(0.02 * torch.randn(self.grid**2, dim))
        self.blocks = nn.ModuleList(DiTBlock(dim, heads) for _ in range(depth))
        self.modulation = nn.Linear(dim, 2 * dim)
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.last = nn.Linear(dim, channels * patch * patch)

    def forward(self, z: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        g, p, c = self.grid, self.patch, self.channels
        h = z.view(-1, c, g, p, g, p).permute(0, 2, 4, 1, 3, 5).reshape(-1, g * g, c * p * p)
        h, k = self.first(h) + self.place, self.embed(t, y)
        for block in self.blocks:
            h = block(h, k)
        shift, scale = self.modulation(F.silu(k))[:, None].chunk(2, dim=-1)
        h = self.last(self.norm(h) * (1 + scale) + shift)
        return h.view(-1, g, g, c, p, p).permute(0, 3, 1, 4, 2, 5).reshape(z.shape)


def vp_eps_loss(net: nn.Module, x: Tensor, y: Tensor, drop: float = 0.1, classes: int = 10) -> Tensor:
    """Noise prediction on the variance-preserving process with beta from 0.1 to 20, a tenth of the labels left out."""
    y = torch.where(torch.rand(len(x), device=x.device) < drop, classes, y)
    t = 1e-3 + (1 - 1e-3) * torch.rand(len(x), device=x.device)
    log_alpha = -19.9 * t**2 / 4 - 0.1 * t / 2
    alpha, sigma = torch.exp(log_alpha)[:, None, None, None], torch.sqrt(-torch.expm1(2 * log_alpha))[:, None, None, None]
    e = torch.randn_like(x)
    return (net(alpha * x + sigma * e, t, y) - e).square().mean()
