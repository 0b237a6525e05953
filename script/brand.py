"""Draw the brand images: lines of a log that go up, out of a chip.

Run it again after a change: ``.venv/bin/python script/brand.py``. The colours and shapes are the
integration's own, not uLogger's.
"""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

BRAND = Path(__file__).parent.parent / "custom_components" / "ulogger" / "brand"
SMOOTH = 4
"""Drawn this much larger, then reduced: Pillow's shapes have hard edges."""
UNIT = 256

CHIP = "#0F5C7A"
PIN = "#0A4157"
LINES = "#BFE6F2"
ARROW = "#FFB338"
INK = {"": "#12323F", "dark_": "#F2FAFD"}


def icon(size: int) -> Image.Image:
    """Draw the chip on a square of *size* pixels."""
    scale = size * SMOOTH / UNIT
    image = Image.new("RGBA", (size * SMOOTH, size * SMOOTH))
    draw = ImageDraw.Draw(image)

    def box(left: float, top: float, right: float, bottom: float, radius: float, fill: str) -> None:
        corners = [edge * scale for edge in (left, top, right, bottom)]
        draw.rounded_rectangle(corners, radius * scale, fill)

    for step in range(4):
        at = 62 + step * 38
        box(at, 4, at + 18, 252, 8, PIN)
        box(4, at, 252, at + 18, 8, PIN)
    box(28, 28, 228, 228, 30, CHIP)
    for row, width in enumerate((62, 44, 54, 36)):
        top = 74 + row * 32
        box(56, top, 56 + width, top + 15, 7, LINES)
    box(159, 108, 181, 188, 10, ARROW)
    head = [(170, 62), (208, 112), (132, 112)]
    draw.polygon([(x * scale, y * scale) for x, y in head], ARROW)
    return image.resize((size, size), Image.Resampling.LANCZOS)


def logo(height: int, ink: str) -> Image.Image:
    """Draw the chip with the name beside it, *height* pixels high."""
    font = ImageFont.load_default(height * 0.62 * SMOOTH)
    left, top, right, bottom = font.getbbox("uLogger")
    gap = height * SMOOTH // 6
    width = height * SMOOTH + gap + round(right - left) + gap // 2
    image = Image.new("RGBA", (width, height * SMOOTH))
    image.paste(icon(height * SMOOTH), (0, 0))
    middle = (height * SMOOTH - (bottom - top)) / 2 - top
    ImageDraw.Draw(image).text((height * SMOOTH + gap - left, middle), "uLogger", ink, font)
    return image.resize((width // SMOOTH, height), Image.Resampling.LANCZOS)


def main() -> None:
    """Write all images."""
    BRAND.mkdir(exist_ok=True)
    for suffix, factor in (("", 1), ("@2x", 2)):
        icon(UNIT * factor).save(BRAND / f"icon{suffix}.png", optimize=True)
        for theme, ink in INK.items():
            logo(128 * factor, ink).save(BRAND / f"{theme}logo{suffix}.png", optimize=True)


if __name__ == "__main__":
    main()
