"""A bar chart as SVG, by hand: nothing to install, and the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_LABEL_PX, _BAR_PX, _VALUE_PX, _ROW_PX, _HEAD_PX = 250, 430, 80, 26, 44
_OURS, _OTHERS = "#1f6feb", "#8b949e"


@dataclass(frozen=True)
class Bar:
    """One bar; ``ours`` ones have another colour."""

    label: str
    value: float
    ours: bool = False


def bar_chart(title: str, bars: Sequence[Bar]) -> str:
    """Horizontal bars in the order given."""
    longest = max(bar.value for bar in bars)
    width = _LABEL_PX + _BAR_PX + _VALUE_PX
    height = _HEAD_PX + _ROW_PX * len(bars) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="24" font-weight="bold">{escape(title)}</text>',
    ]
    for index, bar in enumerate(bars):
        top = _HEAD_PX + index * _ROW_PX
        length = _BAR_PX * bar.value / longest
        colour = _OURS if bar.ours else _OTHERS
        middle = top + _ROW_PX // 2 + 1
        parts += [
            f'<text x="{_LABEL_PX - 8}" y="{middle}" text-anchor="end">{escape(bar.label)}</text>',
            f'<rect x="{_LABEL_PX}" y="{top}" width="{length:.1f}" height="18" fill="{colour}"/>',
            f'<text x="{_LABEL_PX + length + 6:.1f}" y="{middle}">{bar.value:.0f}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])
