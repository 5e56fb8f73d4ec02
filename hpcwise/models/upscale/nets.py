"""The networks of Real-ESRGAN (Wang et al., arXiv 2107.10833): the small one for video and the large one.

Layer names are those of the released weights, so that their files load as they are.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Compact(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """A plain row of convolutions whose result is added to the enlarged input (realesr-animevideov3)."""

    def __init__(self, features: int, blocks: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        layers: list[Any] = [nn.Conv2d(3, features, 3, 1, 1), nn.PReLU(features)]
        for _ in range(blocks):
            layers += [nn.Conv2d(features, features, 3, 1, 1), nn.PReLU(features)]
        layers.append(nn.Conv2d(features, 3 * scale * scale, 3, 1, 1))
        self.body = nn.ModuleList(layers)
        self.upsampler = nn.PixelShuffle(scale)

    def forward(self, pictures: Any) -> Any:
        """[n, 3, h, w] from 0 to 1 -> [n, 3, scale h, scale w]."""
        made = pictures
        for layer in self.body:
            made = layer(made)
        base = nn.functional.interpolate(pictures, scale_factor=self.scale, mode="nearest")
        return self.upsampler(made) + base


class _Dense(nn.Module):  # type: ignore[misc]
    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for i in range(1, 5):
            setattr(self, f"conv{i}", nn.Conv2d(features + (i - 1) * growth, growth, 3, 1, 1))
        self.conv5 = nn.Conv2d(features + 4 * growth, features, 3, 1, 1)

    def forward(self, x: Any) -> Any:
        seen = x
        for i in range(1, 5):
            new = nn.functional.leaky_relu(getattr(self, f"conv{i}")(seen), 0.2)
            seen = torch.cat((seen, new), 1)
        return self.conv5(seen) * 0.2 + x


class _Block(nn.Module):  # type: ignore[misc]
    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (_Dense(features, growth) for _ in range(3))

    def forward(self, x: Any) -> Any:
        return self.rdb3(self.rdb2(self.rdb1(x))) * 0.2 + x


class Residual(nn.Module):  # type: ignore[misc]
    """Residual-in-residual dense blocks (RealESRGAN_x4plus): four times as large, whatever `scale` shrinks
    its input by before."""

    def __init__(self, features: int, blocks: int, scale: int, growth: int = 32) -> None:
        super().__init__()
        self.scale = scale
        self.conv_first = nn.Conv2d(3 * (4 // scale) ** 2, features, 3, 1, 1)
        self.body = nn.Sequential(*(_Block(features, growth) for _ in range(blocks)))
        self.conv_body = nn.Conv2d(features, features, 3, 1, 1)
        self.conv_up1 = nn.Conv2d(features, features, 3, 1, 1)
        self.conv_up2 = nn.Conv2d(features, features, 3, 1, 1)
        self.conv_hr = nn.Conv2d(features, features, 3, 1, 1)
        self.conv_last = nn.Conv2d(features, 3, 3, 1, 1)

    def forward(self, pictures: Any) -> Any:
        """[n, 3, h, w] from 0 to 1 -> [n, 3, scale h, scale w]; sides divisible by 4 / scale."""
        feat = self.conv_first(nn.functional.pixel_unshuffle(pictures, 4 // self.scale))
        feat = feat + self.conv_body(self.body(feat))
        for conv in (self.conv_up1, self.conv_up2):
            feat = nn.functional.leaky_relu(conv(nn.functional.interpolate(feat, scale_factor=2)), 0.2)
        return self.conv_last(nn.functional.leaky_relu(self.conv_hr(feat), 0.2))
